"""Tests of `hw.activation_memory`."""

import pytest

from hw.activation_memory import ActivationMemory
from tests.support.runner import run_bench

SIZES = [
    {"blocks": 5, "max_rows": 4},
    {"blocks": 8, "max_rows": 2},
    {"blocks": 5, "max_rows": 4, "readers": 4},
]


@pytest.mark.parametrize("sizes", SIZES)
def test_emitted_verilog_keeps_what_is_stored(sizes):
    run_bench(ActivationMemory(**sizes), "tests.hw.bench_activation_memory", params=sizes)


def test_blocks_must_be_positive():
    with pytest.raises(ValueError, match="blocks must be positive, not 0"):
        ActivationMemory(blocks=0, max_rows=4)


def test_readers_must_be_positive():
    with pytest.raises(ValueError, match="readers must be positive, not 0"):
        ActivationMemory(blocks=4, max_rows=4, readers=0)


@pytest.mark.parametrize("max_rows", [0, 1, 6])
def test_max_rows_must_be_a_power_of_two(max_rows):
    with pytest.raises(ValueError, match=f"max_rows must be a power of two from 2, not {max_rows}"):
        ActivationMemory(blocks=4, max_rows=max_rows)
