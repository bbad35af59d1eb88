"""Tests of `hw.residual`."""

import pytest

from hw.residual import Residual
from tests.support.runner import run_bench

SIZES = [
    {"lanes": 4, "max_dim": 32, "max_rows": 4},
    {"lanes": 16, "max_dim": 96, "max_rows": 8},
]


@pytest.mark.parametrize("sizes", SIZES, ids=["4 lanes", "16 lanes"])
def test_emitted_verilog_equals_golden(sizes):
    run_bench(Residual(**sizes), "tests.hw.bench_residual", params=sizes)


def test_max_dim_must_be_whole_blocks():
    with pytest.raises(ValueError, match="max_dim must be a positive multiple of 32, not 33"):
        Residual(lanes=4, max_dim=33, max_rows=4)


def test_max_rows_must_be_a_power_of_two():
    with pytest.raises(ValueError, match="max_rows must be a power of two from 2, not 3"):
        Residual(lanes=4, max_dim=32, max_rows=3)


def test_lanes_must_cut_a_block_into_whole_beats():
    with pytest.raises(ValueError, match="lanes must be 2, 4, 8, 16 or 32, not 64"):
        Residual(lanes=64, max_dim=64, max_rows=4)
