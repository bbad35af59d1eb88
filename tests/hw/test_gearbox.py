"""Tests of `hw.lib.gearbox`."""

import pytest

from hw.lib.gearbox import Gearbox
from tests.support.runner import run_bench


@pytest.mark.parametrize(("i_bytes", "o_bytes"), [(2, 8), (4, 8), (4, 4), (8, 4), (16, 2)])
def test_gearbox(i_bytes, o_bytes):
    params = {"i_bytes": i_bytes, "o_bytes": o_bytes}
    run_bench(Gearbox(**params), "tests.hw.bench_gearbox", params=params)


def test_width_must_be_an_integer():
    with pytest.raises(TypeError, match="i_bytes must be an integer, not '4'"):
        Gearbox(i_bytes="4", o_bytes=4)


def test_width_must_be_positive():
    with pytest.raises(ValueError, match="o_bytes must be positive, not 0"):
        Gearbox(i_bytes=4, o_bytes=0)


@pytest.mark.parametrize("o_bytes", [6, 12])
def test_ratio_must_be_a_power_of_two(o_bytes):
    with pytest.raises(ValueError, match=f"times or over a power of two, not {o_bytes}"):
        Gearbox(i_bytes=4, o_bytes=o_bytes)
