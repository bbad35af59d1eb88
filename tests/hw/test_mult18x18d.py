"""The multiplier of an ECP5, and its portable twin.

What is trusted is `tests/hw/mult18x18d.v`, our model of the cell. The twin is proved equal to the
cell with this model, for all time and from any state of the registers, and both are compared with
the integers: over all pairs of two bytes, and over the ends and random numbers at full width.
"""

from pathlib import Path

import pytest
from amaranth.back import rtlil
from amaranth.hdl import Fragment, Module, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.ecp5.device import Lfe5u85f
from hw.ecp5.mult18x18d import Mult18x18d
from scripts.synth.yosys import ToolError
from tests.support import twins
from tests.support.runner import run_bench

MODEL = Path(__file__).with_name("mult18x18d.v")
WIDTHS = [(8, 8), (18, 18), (5, 18), (1, 1)]


class Cell(Mult18x18d):
    """The multiplier as the cell."""

    def elaborate(self, platform):
        device = Lfe5u85f()
        return Fragment.get(super().elaborate(device), device)


class Pair(wiring.Component):
    """Twin and cell with the same operands."""

    def __init__(self, a_width, b_width):
        self.widths = {"a_width": a_width, "b_width": b_width}
        product = Out(signed(a_width + b_width))
        super().__init__({
            "a": In(signed(a_width)),
            "b": In(signed(b_width)),
            "portable": product,
            "cell_p": product,
        })

    def elaborate(self, platform):
        m = Module()
        for kind, port in ((Mult18x18d, self.portable), (Cell, self.cell_p)):
            m.submodules += (unit := kind(**self.widths))
            m.d.comb += [unit.a.eq(self.a), unit.b.eq(self.b), port.eq(unit.p)]
        return m


@pytest.mark.parametrize(("a_width", "b_width"), WIDTHS)
def test_products_are_exact(a_width, b_width):
    run_bench(
        Pair(a_width, b_width),
        "tests.hw.bench_mult18x18d",
        params={"a_width": a_width, "b_width": b_width},
        sources=[MODEL],
    )


def prove(folder, a_width, b_width, change=("", "")):
    """Prove that twin and cell put out the same from the fourth cycle on, whatever their state."""
    widths = {"a_width": a_width, "b_width": b_width}
    simplify = ("opt -full", "wreduce", "opt -full", "simplemap t:$dff", "opt_merge", "opt_clean")
    twins.prove(
        folder,
        MODEL,
        rtlil.convert(Cell(**widths), name="explicit"),
        rtlil.convert(Mult18x18d(**widths), name="portable"),
        change,
        (
            "setattr -unset init w:*",
            *simplify,
            *simplify,
            "sat -verify -seq 4 -tempinduct -prove-asserts -set-def-inputs miter",
        ),
    )


@pytest.mark.parametrize(("a_width", "b_width"), WIDTHS)
def test_twin_is_proved_equal_to_the_cell(a_width, b_width, tmp_path):
    prove(tmp_path, a_width, b_width)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('\\REG_PIPELINE_CLK "CLK0"', '\\REG_PIPELINE_CLK "NONE"'),
        ('\\REG_INPUTB_CLK "CLK0"', '\\REG_INPUTB_CLK "NONE"'),
        ("\\SIGNEDA 1'1", "\\SIGNEDA 1'0"),
        ("\\CE0 1'1", "\\CE0 1'0"),
    ],
    ids=["no_pipeline_register", "no_operand_register", "unsigned", "disabled"],
)
def test_proof_fails_for_another_cell(old, new, tmp_path):
    with pytest.raises(ToolError, match="proof did fail"):
        prove(tmp_path, 18, 2, (old, new))


@pytest.mark.parametrize("width", [0, 19, -1, 8.0, True, "8"])
@pytest.mark.parametrize("name", ["a_width", "b_width"])
def test_widths_must_fit_the_cell(name, width):
    with pytest.raises(ValueError, match=f"{name} must be an integer from 1 to 18, not {width!r}"):
        Mult18x18d(**({"a_width": 8, "b_width": 8} | {name: width}))


def test_site_is_an_attribute_of_the_cell():
    unit = Mult18x18d(a_width=8, b_width=8, site="X4/Y10/MULT18_0")
    text = rtlil.convert(unit, name="unit", platform=Lfe5u85f())
    assert 'attribute \\BEL "X4/Y10/MULT18_0"' in text


def test_sites_of_an_array_are_all_different():
    device = Lfe5u85f()
    sites = {device.multiplier_site(row, column) for row in range(12) for column in range(13)}
    assert len(sites) == 156
    assert None not in sites


@pytest.mark.parametrize(
    ("row", "column", "site"),
    [
        (0, 0, "X4/Y10/MULT18_0"),
        (3, 0, "X9/Y10/MULT18_5"),
        (6, 6, "X62/Y34/MULT18_4"),
        (5, 7, "X70/Y34/MULT18_1"),
        (11, 12, "X119/Y58/MULT18_5"),
    ],
)
def test_sites_are_those_of_the_device(row, column, site):
    assert Lfe5u85f().multiplier_site(row, column) == site


@pytest.mark.parametrize(("row", "column"), [(12, 0), (0, 13)])
def test_array_larger_than_the_device_has_no_sites(row, column):
    assert Lfe5u85f().multiplier_site(row, column) is None
