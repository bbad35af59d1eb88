"""Tests of `hw.memory_controller`, `hw.memory_reader`, `hw.memory_writer`, `hw.burst_cutter`."""

import re

import pytest

from hw.burst_cutter import BurstCutter
from hw.memory_controller import MemoryController
from hw.memory_reader import MemoryReader
from tests.support.runner import run_bench

NAMES = ("port_bytes", "stream_depth", "max_burst")
SIZES = pytest.mark.parametrize("sizes", [(4, 64, 64), (16, 512, 64), (64, 16, 16)], ids=str)


@SIZES
@pytest.mark.parametrize("bench", ["memory_controller", "memory_controller_regions"])
def test_memory_controller(sizes, bench):
    params = dict(zip(NAMES, sizes, strict=True))
    run_bench(MemoryController(**params), f"tests.hw.bench_{bench}", params=params)


@pytest.mark.parametrize("name", ["stream_depth", "fetch_depth"])
@pytest.mark.parametrize("value", [0, 2, 24, "64"])
def test_depths_must_be_powers_of_two(name, value):
    depths = {"stream_depth": 64, "fetch_depth": 16, name: value}
    message = f"{name} must be a power of two from 4, not {value!r}"
    with pytest.raises(ValueError, match=re.escape(message)):
        MemoryController(port_bytes=4, **depths)


@pytest.mark.parametrize("value", [0, 12, "16"])
def test_port_must_be_a_power_of_two(value):
    with pytest.raises(ValueError, match=f"port_bytes must be a power of two, not {value!r}"):
        MemoryController(port_bytes=value, stream_depth=64)


@pytest.mark.parametrize(("port_bytes", "most"), [(4, 256), (64, 64)])
def test_bursts_must_fit_a_page_and_256_beats(port_bytes, most):
    shared = {"port_bytes": port_bytes, "beats_width": 8, "region_count": 1}
    BurstCutter(max_burst=most, **shared)
    with pytest.raises(ValueError, match=f"max_burst must be at most {most}, not {2 * most}"):
        BurstCutter(max_burst=2 * most, **shared)


def test_reader_depth_must_be_a_power_of_two():
    with pytest.raises(ValueError, match="depth must be a power of two from 4, not 6"):
        MemoryReader(port_bytes=4, beats_width=8, depth=6, max_burst=4, region_count=1)
