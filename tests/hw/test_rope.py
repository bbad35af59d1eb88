"""Tests of `hw.rope`."""

import pytest
from amaranth.hdl import unsigned

from hw.rope import Rope
from tests.support.runner import run_bench


@pytest.mark.parametrize("lanes", [4, 16])
def test_emitted_verilog_equals_golden(lanes):
    run_bench(
        Rope(lanes=lanes, meta_shape=unsigned(9)),
        "tests.hw.bench_rope",
        params={"lanes": lanes},
    )


def test_lanes_must_cut_a_block_into_whole_beats():
    with pytest.raises(ValueError, match="lanes must be 2, 4, 8, 16 or 32, not 12"):
        Rope(lanes=12, meta_shape=1)


def test_lanes_must_be_an_integer():
    with pytest.raises(TypeError, match="lanes must be an integer, not '8'"):
        Rope(lanes="8", meta_shape=1)
