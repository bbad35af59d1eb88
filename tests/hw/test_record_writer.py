"""Tests of `hw.record_writer`."""

import pytest

from hw.record_writer import RecordWriter
from tests.support.runner import run_bench


@pytest.mark.parametrize(("port_bytes", "record_bytes"), [(4, 8), (8, 8), (64, 8), (16, 32)])
def test_record_writer(port_bytes, record_bytes):
    params = {"port_bytes": port_bytes, "record_bytes": record_bytes}
    run_bench(
        RecordWriter(**params),
        "tests.hw.bench_record_writer",
        name=f"record_writer_{port_bytes}_{record_bytes}",
        params=params,
    )


@pytest.mark.parametrize("name", ["port_bytes", "record_bytes"])
def test_sizes_must_be_powers_of_two(name):
    params = {"port_bytes": 16, "record_bytes": 8} | {name: 24}
    with pytest.raises(ValueError, match=f"{name} must be a power of two from 4, not 24"):
        RecordWriter(**params)
