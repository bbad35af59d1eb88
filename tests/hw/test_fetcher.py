"""Tests of `hw.fetcher`."""

import pytest

from hw.fetcher import Fetcher
from tests.support.runner import run_bench


@pytest.mark.parametrize("port_bytes", [4, 16, 64])
def test_fetcher(port_bytes):
    params = {"port_bytes": port_bytes}
    run_bench(
        Fetcher(**params),
        "tests.hw.bench_fetcher",
        name=f"fetcher_{port_bytes}",
        params=params,
    )
