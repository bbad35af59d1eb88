"""Tests of `hw.ring_writer`."""

import pytest

from hw.ring_writer import RingWriter
from tests.support.runner import run_bench


@pytest.mark.parametrize("port_bytes", [4, 16, 64])
def test_ring_writer(port_bytes):
    params = {"port_bytes": port_bytes}
    run_bench(
        RingWriter(**params),
        "tests.hw.bench_ring_writer",
        name=f"ring_writer_{port_bytes}",
        params=params,
    )
