"""Tests of `hw.block_quantiser`."""

import re

import pytest

from hw.block_quantiser import BlockQuantiser
from tests.support.runner import run_bench


@pytest.mark.parametrize(("lanes", "width"), [(4, 24), (16, 24), (8, 20), (32, 39), (1, 9)])
def test_emitted_verilog_equals_golden(lanes, width):
    run_bench(
        BlockQuantiser(lanes=lanes, width=width, meta_shape=7),
        "tests.hw.bench_block_quantiser",
        params={"lanes": lanes, "width": width},
    )


@pytest.mark.parametrize("lanes", [0, 3, 64, "4"])
def test_lanes_must_divide_a_block(lanes):
    with pytest.raises(ValueError, match=f"lanes must be 1, 2, 4, 8, 16 or 32, not {lanes!r}"):
        BlockQuantiser(lanes=lanes, meta_shape=1)


@pytest.mark.parametrize("width", [8, 40, -1, 24.5, "24"])
def test_width_must_give_an_exponent_that_fits(width):
    message = re.escape(f"width must be an integer from 9 to 39, not {width!r}")
    with pytest.raises(ValueError, match=message):
        BlockQuantiser(lanes=4, width=width, meta_shape=1)


def test_meta_must_have_a_shape():
    with pytest.raises(TypeError, match="meta_shape must be a shape, not 'meta'"):
        BlockQuantiser(lanes=4, meta_shape="meta")
