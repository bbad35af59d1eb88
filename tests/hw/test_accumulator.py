"""Tests of `hw.accumulator`."""

import pytest

from hw.accumulator import Accumulator
from tests.support.runner import run_bench


@pytest.mark.parametrize(("cols", "depth"), [(1, 2), (4, 8), (3, 6), (16, 64)])
def test_emitted_verilog_equals_golden(cols, depth):
    run_bench(
        Accumulator(cols=cols, depth=depth),
        "tests.hw.bench_accumulator",
        params={"cols": cols, "depth": depth},
    )


@pytest.mark.parametrize("cols", [0, -4, 4.0, True, "4"])
def test_cols_must_be_a_positive_integer(cols):
    with pytest.raises(ValueError, match=f"cols must be a positive integer, not {cols!r}"):
        Accumulator(cols=cols, depth=8)


@pytest.mark.parametrize("depth", [1, 0, 8.0, "8"])
def test_depth_must_be_an_integer_from_2(depth):
    with pytest.raises(ValueError, match=f"depth must be an integer from 2, not {depth!r}"):
        Accumulator(cols=4, depth=depth)
