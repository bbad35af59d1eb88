"""Tests of `hw.softmax`."""

import pytest

from hw.softmax import Softmax
from tests.support.runner import run_bench

SIZES = [
    {"lanes": 4, "max_rows": 4, "max_context": 128},
    {"lanes": 16, "max_rows": 8, "max_context": 1024},
]


@pytest.mark.parametrize("sizes", SIZES, ids=["4 lanes", "16 lanes"])
def test_emitted_verilog_equals_golden(sizes):
    run_bench(Softmax(**sizes), "tests.hw.bench_softmax", params=sizes)


def test_max_context_must_be_whole_blocks():
    with pytest.raises(ValueError, match="max_context must be a positive multiple of 32, not 0"):
        Softmax(lanes=4, max_rows=8, max_context=0)


def test_max_rows_must_be_an_integer():
    with pytest.raises(TypeError, match="max_rows must be an integer, not True"):
        Softmax(lanes=4, max_rows=True, max_context=64)
