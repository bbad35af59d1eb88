"""Tests of `hw.reciprocal`."""

import pytest
from amaranth.hdl import unsigned

from hw.reciprocal import Reciprocal
from tests.support.runner import run_bench


@pytest.mark.parametrize("width", [24, 27])
def test_emitted_verilog_equals_golden(width):
    run_bench(
        Reciprocal(width=width, meta_shape=unsigned(8)),
        "tests.hw.bench_reciprocal",
        params={"width": width},
    )


def test_width_must_be_an_integer():
    with pytest.raises(TypeError, match="width must be an integer, not 2.5"):
        Reciprocal(width=2.5, meta_shape=1)
