"""Tests of `hw.event_writer`."""

import pytest

from hw.event_writer import EventWriter
from tests.support.runner import run_bench


@pytest.mark.parametrize("port_bytes", [4, 16, 64])
def test_event_writer(port_bytes):
    params = {"port_bytes": port_bytes}
    run_bench(
        EventWriter(**params),
        "tests.hw.bench_event_writer",
        name=f"event_writer_{port_bytes}",
        params=params,
    )
