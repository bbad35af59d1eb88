"""Trees of buffers: what drives too many cells, and that the netlist stays the same."""

import re
from collections import Counter

import pytest
from amaranth.back import rtlil

from scripts.synth import yosys
from scripts.synth.cell_netlist import joined
from scripts.synth.cells import Mapped
from scripts.synth.fanout import buffered, driven, loads
from scripts.synth.liberty import read_library
from tests.support.liberty import FEW_CELLS
from tests.test_asic import Pair, mapped


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    return mapped(Pair(), tmp_path_factory.mktemp("pair"))


def pins_on(text):
    """Return the numbers of pins of cells that the nets of a module drive, but for its clock."""
    pins = re.findall(r"\.(?:A|B|D)\(([\w$\[\]]+)\)", text)
    return Counter(pins)


def test_nothing_drives_more_cells_than_the_limit(pair):
    _, units, library = pair
    before = units["serrano.element_0_0"]
    after = buffered(before, library, limit=2)
    assert max(pins_on(before.verilog).values()) > 4
    assert max(pins_on(after.verilog).values()) == 2
    added = len(re.findall(r"^  BUF fanout", after.verilog, re.M))
    assert after.cells == before.cells | {"BUF": before.cells.get("BUF", 0) + added}
    assert buffered(before, library, limit=100) == before


def test_constants_get_no_buffers():
    gates = "".join(f"  INV g{number} (.A(one), .Y(y{number}));\n" for number in range(9))
    text = f"module unit (clk);\n  TIE1 tie (.Y(one));\n{gates}endmodule\n"
    library = read_library([FEW_CELLS])
    tied = Mapped({"INV": 9, "TIE1": 1}, [], ["clk"], text)
    assert buffered(tied, library, limit=2) == tied
    free = Mapped(
        {"INV": 9}, [], ["clk"], text.replace("TIE1 tie (.Y(one))", "INV g (.A(x), .Y(one))")
    )
    assert buffered(free, library, limit=2).cells["BUF"] == 5 + 3 + 2


def test_clocks_get_no_buffers():
    library = read_library([FEW_CELLS])
    cells = "".join(f"  DFF r{n} (.D(d), .CK(core_clk$2), .Q(q{n}));\n" for n in range(9))
    text = f"module unit (core_clk$2, d);\n  input core_clk$2;\n  input d;\n{cells}endmodule\n"
    clocked = Mapped({"DFF": 9}, [], ["core_clk$2", "d"], text)
    assert "CK" in library.cells["DFF"].inputs
    assert buffered(clocked, library, limit=3).cells["BUF"] == 3
    assert loads(clocked, library) == {0: [0], 1: [9]}


def test_what_a_port_drives_further_down_counts():
    library = read_library([FEW_CELLS])
    text = (
        "module unit (a, b);\n  input [1:0] a;\n  input b;\n  box0 one (.p0({a[1], b}));\n"
        "  box0 two (.p0({a[1], a[0]}));\n  INV g (.A(a[1]), .Y(y));\nendmodule\n"
    )
    unit, below = Mapped({"box0": 2, "INV": 1}, [], ["a", "b"], text), {"box0": {0: [3, 1]}}
    assert loads(unit, library, below) == {0: [7, 1], 1: [1]}
    assert buffered(unit, library, 7, below) == unit
    after = buffered(unit, library, 4, below)
    assert after.cells["BUF"] == 2
    assert loads(after, library, below) == {0: [2, 1], 1: [1]}
    assert ".p0({fanout$" in after.verilog


def test_nothing_in_a_hierarchy_drives_more_cells_than_the_limit(pair):
    found, units, library = pair
    children = list(dict.fromkeys(found["serrano"].children))

    def most(units):
        below = {f"box{n}": loads(units[child], library) for n, child in enumerate(children)}
        return max(max(bits) for bits in loads(units["serrano"], library, below).values())

    alone = {name: buffered(unit, library, limit=2) for name, unit in units.items()}
    assert most(alone) > 2
    assert most(driven(found, units, library, limit=2)) == 2


@pytest.mark.parametrize("limit", [2, 100])
def test_netlist_does_what_the_design_does(pair, tmp_path, limit):
    found, units, library = pair
    units = driven(found, units, library, limit)
    (tmp_path / "gold.il").write_text(rtlil.convert(Pair(), name="gold"))
    (tmp_path / "gate.v").write_text(joined("serrano", found, units))
    (tmp_path / "cells.lib").write_text(FEW_CELLS.read_text())
    yosys.run_yosys(
        [
            "read_rtlil gold.il", "proc", "flatten gold",
            "read_liberty cells.lib", "read_verilog gate.v", "flatten unit",
            "attrmap -remove init", "opt_clean",
            "miter -equiv -flatten gold unit both", "hierarchy -top both",
            "sat -seq 6 -prove-skip 1 -set-at 1 in_rst 1 -prove trigger 0 -verify both",
        ],
        tmp_path,
    )  # fmt: skip
