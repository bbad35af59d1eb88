"""Tests of `hw.systolic_array` and its elements."""

import re
from pathlib import Path

import pytest
from amaranth.back import rtlil
from amaranth.hdl import Fragment

from hw.ecp5.device import Lfe5u85f
from hw.systolic_array import SystolicArray
from tests.support.runner import run_bench

MODEL = Path(__file__).with_name("mult18x18d.v")
SIZES = [(4, 4), (8, 8), (8, 16), (16, 16), (32, 4), (2, 1)]
REGISTERED = [(4, 4), (8, 8), (32, 4), (2, 1)]


@pytest.mark.parametrize(
    ("rows", "cols", "registers"),
    [
        *(pytest.param(*size, False, id="{}x{}".format(*size)) for size in SIZES),
        *(pytest.param(*size, True, id="{}x{}-registers".format(*size)) for size in REGISTERED),
    ],
)
def test_emitted_verilog_equals_golden(rows, cols, registers):
    run_bench(
        SystolicArray(rows=rows, cols=cols, registers=registers),
        "tests.hw.bench_systolic_array",
        params={"rows": rows, "cols": cols, "registers": registers},
    )


class OnEcp5(SystolicArray):
    """The array with the cells of an ECP5."""

    def elaborate(self, platform):
        device = Lfe5u85f()
        return Fragment.get(super().elaborate(device), device)


def test_array_of_cells_equals_golden():
    run_bench(
        OnEcp5(rows=8, cols=8, registers=True),
        "tests.hw.bench_systolic_array",
        params={"rows": 8, "cols": 8, "registers": True},
        sources=[MODEL],
    )


@pytest.mark.parametrize("registers", [False, True])
def test_each_element_is_one_cell_with_a_site_of_its_own(registers):
    array = SystolicArray(rows=4, cols=2, registers=registers)
    text = rtlil.convert(array, name="array", platform=Lfe5u85f())
    sites = re.findall(r'attribute \\BEL "(\S+)"', text)
    assert len(set(sites)) == len(sites) == text.count("cell \\MULT18X18D") == 8 * registers


@pytest.mark.parametrize("rows", [0, 1, 3, 64, "4"])
def test_rows_must_divide_a_block(rows):
    with pytest.raises(ValueError, match=f"rows must be 2, 4, 8, 16 or 32, not {rows!r}"):
        SystolicArray(rows=rows, cols=4)


@pytest.mark.parametrize("cols", [0, -1, 4.0, True, "4"])
def test_cols_must_be_a_positive_integer(cols):
    with pytest.raises(ValueError, match=f"cols must be a positive integer, not {cols!r}"):
        SystolicArray(rows=4, cols=cols)


@pytest.mark.parametrize("registers", [0, 1, None, "yes"])
def test_registers_must_be_a_bool(registers):
    with pytest.raises(ValueError, match=f"registers must be True or False, not {registers!r}"):
        SystolicArray(rows=4, cols=4, registers=registers)
