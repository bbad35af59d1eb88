"""Tests of `hw.random_threshold`."""

import pytest

from hw.random_threshold import RandomThreshold
from tests.support.runner import run_bench


@pytest.mark.parametrize("total_width", [19, 32])
def test_emitted_verilog_equals_golden(total_width):
    run_bench(
        RandomThreshold(total_width=total_width),
        "tests.hw.bench_random_threshold",
        params={"total_width": total_width},
    )


def test_total_width_must_be_positive():
    with pytest.raises(ValueError, match="total_width must be positive, not 0"):
        RandomThreshold(total_width=0)


def test_total_width_must_not_exceed_that_of_a_number():
    with pytest.raises(ValueError, match="total_width must be 32 at most, not 33"):
        RandomThreshold(total_width=33)
