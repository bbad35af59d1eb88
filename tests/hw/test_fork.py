"""Tests of `hw.lib.fork`."""

import pytest

from hw.lib.fork import Fork
from tests.support.runner import run_bench


@pytest.mark.parametrize("count", [1, 2, 4])
def test_every_stream_gets_every_payload_once(count):
    run_bench(Fork(12, count), "tests.hw.bench_fork", params={"width": 12, "count": count})


def test_count_must_be_positive():
    with pytest.raises(ValueError, match="count must be positive, not 0"):
        Fork(12, 0)
