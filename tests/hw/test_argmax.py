"""Tests of `hw.argmax`."""

import pytest

from hw.argmax import ArgMax
from tests.support.runner import run_bench

SIZES = [
    {"lanes": 4, "max_rows": 4, "max_vocab": 64},
    {"lanes": 16, "max_rows": 16, "max_vocab": 1 << 9},
]


@pytest.mark.parametrize("sizes", SIZES, ids=["4 lanes", "16 lanes"])
def test_emitted_verilog_equals_golden(sizes):
    run_bench(ArgMax(**sizes), "tests.hw.bench_argmax", params=sizes)


def test_max_vocab_must_be_positive():
    with pytest.raises(ValueError, match="max_vocab must be positive, not 0"):
        ArgMax(lanes=4, max_rows=4, max_vocab=0)


def test_max_vocab_must_fill_a_beat():
    with pytest.raises(ValueError, match=r"max_vocab must be lanes \(16\) at least, not 8"):
        ArgMax(lanes=16, max_rows=4, max_vocab=8)


def test_max_rows_must_be_a_power_of_two():
    with pytest.raises(ValueError, match="max_rows must be a power of two from 2, not 1"):
        ArgMax(lanes=4, max_rows=1)
