"""Tests of `hw.requantiser`."""

import pytest

from hw.requantiser import Requantiser
from tests.support.runner import run_bench


@pytest.mark.parametrize(("lanes", "meta_width"), [(1, 8), (4, 0), (16, 5)])
def test_emitted_verilog_equals_golden(lanes, meta_width):
    run_bench(
        Requantiser(lanes=lanes, meta_shape=meta_width),
        "tests.hw.bench_requantiser",
        params={"lanes": lanes, "meta_width": meta_width},
    )


@pytest.mark.parametrize("lanes", [0, -1, 2.0, True, "4"])
def test_lanes_must_be_a_positive_integer(lanes):
    with pytest.raises(ValueError, match=f"lanes must be a positive integer, not {lanes!r}"):
        Requantiser(lanes=lanes, meta_shape=1)


def test_meta_must_have_a_shape():
    with pytest.raises(TypeError, match="meta_shape must be a shape, not 'meta'"):
        Requantiser(lanes=4, meta_shape="meta")
