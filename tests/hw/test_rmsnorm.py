"""Tests of `hw.rmsnorm`."""

import pytest

from hw.rmsnorm import RmsNorm
from tests.support.runner import run_bench

SIZES = [
    {"lanes": 4, "max_dim": 64, "max_rows": 8, "max_gains": 128},
    {"lanes": 16, "max_dim": 576, "max_rows": 8, "max_gains": 704},
]


@pytest.mark.parametrize("sizes", SIZES, ids=["4 lanes", "16 lanes"])
def test_emitted_verilog_equals_golden(sizes):
    run_bench(RmsNorm(**sizes), "tests.hw.bench_rmsnorm", params=sizes)


def test_max_dim_must_be_whole_blocks():
    with pytest.raises(ValueError, match="max_dim must be a positive multiple of 32, not 48"):
        RmsNorm(lanes=4, max_dim=48, max_rows=8, max_gains=64)


def test_max_rows_must_be_a_power_of_two():
    with pytest.raises(ValueError, match="max_rows must be a power of two from 2, not 6"):
        RmsNorm(lanes=4, max_dim=64, max_rows=6, max_gains=64)


def test_max_gains_must_be_whole_blocks():
    with pytest.raises(ValueError, match="max_gains must be a positive multiple of 32, not 0"):
        RmsNorm(lanes=4, max_dim=64, max_rows=8, max_gains=0)
