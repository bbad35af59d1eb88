"""Tests of `hw.board.memory_share`."""

import pytest

from hw.board.memory_share import MemoryShare
from tests.support.runner import run_bench


def test_memory_share():
    run_bench(MemoryShare(port_bytes=8), "tests.hw.bench_memory_share", params={"port_bytes": 8})


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("port_bytes", 6, "port_bytes must be a power of two from 1, not 6"),
        ("id_width", 0, "id_width must be positive, not 0"),
        ("outstanding", 1, "depth must be at least 2, not 1"),
    ],
)
def test_parameters_are_checked(name, value, message):
    with pytest.raises(ValueError, match=message):
        MemoryShare(**{"port_bytes": 8, name: value})
