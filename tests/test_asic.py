"""The chip in standard cells: areas, bits, netlist, timing, and what is refused."""

import gzip
import json
import re
from collections import Counter

import pytest
from amaranth.back import rtlil
from amaranth.hdl import Module, Signal
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

from scripts import asic
from scripts.synth import cell_report, design, sta, yosys
from scripts.synth.cell_netlist import joined
from scripts.synth.cells import map_modules
from scripts.synth.liberty import read_library
from tests.support.liberty import AREAS, FEW_CELLS, without

#: A stand-in that prints what OpenSTA 2.0.17 does.
STA = """#!/bin/sh
if [ "$1" = -version ]; then echo 2.0.17; exit; fi
cat "$(dirname "$0")/said"
"""
SAID = """\
Warning: netlist.v, line 9 module memory_64x8_1r1w not found.  Creating black box for words.
Startpoint: element_0_0/kept_3_reg_1
            (rising edge-triggered flip-flop clocked by clock)
Endpoint: sum_7_reg
          (rising edge-triggered flip-flop clocked by clock)
Path Type: max

                 998.3500   slack (MET)
"""


class Element(wiring.Component):
    """A register with a sum; a signal with the name of a port makes Amaranth number both."""

    a: In(4)
    b: In(4)
    y: Out(4)

    def elaborate(self, platform):
        m = Module()
        a, kept = Signal(4, name="a"), Signal(4)
        m.d.sync += [a.eq(self.a), kept.eq(a + (self.b ^ 5))]
        m.d.comb += self.y.eq(kept)
        return m


class Pair(wiring.Component):
    """Two elements behind each other, and more."""

    b: In(4)
    y: Out(6)
    same: Out(4)

    def elaborate(self, platform):
        m = Module()
        m.submodules.element_0_0 = first = Element()
        m.submodules.element_0_1 = second = Element()
        count = Signal(4)
        m.d.sync += count.eq(count + 1)
        m.d.comb += [
            first.a.eq(count),
            first.b.eq(self.b),
            second.a.eq(first.y),
            second.b.eq(3),
            self.y.eq(second.y),
            self.same.eq(self.b),
        ]
        return m


class Store(wiring.Component):
    """A memory of 512 bits, a table of as many, and a memory of 16 bits."""

    addr: In(6)
    data: In(8)
    y: Out(8)
    z: Out(8)
    small: Out(4)

    def elaborate(self, platform):
        m = Module()
        shapes = {
            "words": (8, 64, []),
            "table": (8, 64, [i * 37 % 256 for i in range(64)]),
            "few": (4, 4, []),
        }
        for name, (shape, depth, init) in shapes.items():
            m.submodules[name] = memory.Memory(shape=shape, depth=depth, init=init)
        read = {name: m.submodules[name].read_port() for name in shapes}
        for name in ("words", "few"):
            write = m.submodules[name].write_port()
            m.d.comb += [write.addr.eq(self.addr), write.data.eq(self.data), write.en.eq(1)]
        for name, to in (("words", self.y), ("table", self.z), ("few", self.small)):
            m.d.comb += [read[name].addr.eq(self.addr), read[name].en.eq(1)]
            m.d.comb += to.eq(read[name].data)
        return m


def mapped(component, folder, library=None):
    """Return modules, mapped modules and library."""
    library = library or read_library([FEW_CELLS])
    found = design.modules(rtlil.convert(component, name="serrano"))
    return found, map_modules(found, list(found), library, folder), library


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    return mapped(Pair(), tmp_path_factory.mktemp("pair"))


def test_area_equals_cells_times_their_areas(pair):
    found, units, library = pair
    counts = Counter()
    bodies = dict(
        re.findall(r"^module (\w+) (.*?)^endmodule", joined("serrano", *pair[:2]), re.M | re.S)
    )

    def count(body):
        for kind in re.findall(r"^  (\w+) \S+ \(\.", body, re.M):
            if kind in bodies:
                count(bodies[kind])
            else:
                counts[kind] += 1

    count(bodies["unit"])
    totals = cell_report.figures(found, units, library)["serrano"]
    assert set(counts) <= set(AREAS)
    assert totals["area"] == pytest.approx(sum(AREAS[kind] * n for kind, n in counts.items()))
    assert totals["cells"] == counts.total() > 50
    assert totals["flip_flops"] == counts["DFF"] == 4 + 2 * 8
    assert totals["macs"] == 2


def test_unit_has_what_it_holds(pair):
    totals = cell_report.figures(*pair)
    own = totals["serrano"]["area"] - totals["serrano.element_0_0"]["area"]
    own -= totals["serrano.element_0_1"]["area"]
    assert totals["serrano.element_0_0"]["area"] > 8 * AREAS["DFF"]
    assert 4 * AREAS["DFF"] < own < totals["serrano"]["area"] / 2


def test_registers_are_called_after_their_signals(pair):
    text = joined("serrano", *pair[:2])
    assert len(re.findall(r"^  DFF kept(_\d)?_reg(_\d)? ", text, re.M)) % 4 == 0
    assert re.search(r"^  DFF count(_\d)?_reg ", text, re.M)


def test_second_run_maps_nothing(pair, tmp_path, monkeypatch):
    mapped(Pair(), tmp_path)
    monkeypatch.setattr("scripts.synth.cells.run_yosys", None)
    assert mapped(Pair(), tmp_path)[1] == pair[1]


def test_memories_are_black_boxes_with_their_bits_counted(tmp_path):
    found, units, library = mapped(Store(), tmp_path)
    totals = cell_report.figures(found, units, library)["serrano"]
    assert (totals["memory_bits"], totals["table_bits"]) == (64 * 8, 64 * 8)
    text = joined("serrano", found, units)
    assert text.count("memory_64x8_1r1w ") == 1
    assert text.count("memory_64x8_1r0w ") == 1
    # The small one's bits, and the register of its port.
    assert totals["flip_flops"] >= 16
    assert "memory_4x4" not in text


@pytest.mark.parametrize(
    ("cell", "error", "message"),
    [
        ("tribuf", ValueError, r"the library few_cells has no cell for \$_TBUF_"),
        ("dlatch", yosys.ToolError, "D latches are not supported"),
    ],
)
def test_what_the_library_has_no_cell_for_is_refused(tmp_path, cell, error, message):
    polarity = "    parameter \\EN_POLARITY 1\n" if cell == "dlatch" else ""
    ports = ("A", "EN", "Y") if cell == "tribuf" else ("D", "EN", "Q")
    connected = "".join(
        f"    connect \\{port} \\{net}\n" for port, net in zip(ports, "abz", strict=True)
    )
    text = (
        "module \\serrano\n  wire input 0 \\a\n  wire input 1 \\b\n  wire output 2 \\z\n"
        f"  cell ${cell} $1\n    parameter \\WIDTH 1\n{polarity}{connected}  end\nend\n"
    )
    found = design.modules(text)
    with pytest.raises(error, match=message):
        map_modules(found, list(found), read_library([FEW_CELLS]), tmp_path)


@pytest.fixture
def chip(monkeypatch, tmp_path):
    """Make `Pair` the chip, and hide OpenSTA; return the folder of reports."""
    path = tmp_path / "chip.il"
    path.write_text(rtlil.convert(Pair(), name="serrano"))
    monkeypatch.setattr(asic.design, "emit", lambda name: path)
    monkeypatch.setattr(asic, "BUILD", tmp_path / "asic")
    monkeypatch.setattr(cell_report, "DOCS", tmp_path / "docs.md")
    monkeypatch.setattr(sta, "TOOL", str(tmp_path / "sta"))
    return tmp_path / "asic"


@pytest.fixture
def opensta(chip):
    tool = chip.parent / "sta"
    tool.write_text(STA)
    tool.chmod(0o755)
    (chip.parent / "said").write_text(SAID)
    return chip.parent / "said"


def report(folder):
    return json.loads(next(folder.glob("*_tiny_*/report.json")).read_text())


def test_report_without_opensta_says_so(chip, capsys):
    assert asic.main(["--liberty", str(FEW_CELLS)]) == 0
    words = report(chip)
    assert words["timing"] is None
    assert words["library"] == "few_cells"
    assert "clock: not known: OpenSTA (`sta`) is not installed" in capsys.readouterr().out
    assert (chip / "cells").exists()


def test_report_has_clock_and_figures_of_each_mac(chip, opensta, capsys):
    assert asic.main(["--liberty", str(FEW_CELLS), "--period", "1.65"]) == 0
    words, out = report(chip), capsys.readouterr().out
    expected = {"period": 1.65, "start": "element_0_0.kept_3_1", "end": "sum_7", "mhz": 606.06}
    assert words["timing"] == expected
    assert "clock: 606.1 MHz (1.650 ns), `element_0_0.kept_3_1` to `sum_7`" in out
    area = words["units"]["top"]["area"]
    assert f"2 MACs: {area / 2:,.1f} µm² of cells for each, 1.21 GMAC/s" in out
    assert "OpenSTA 2.0.17" in words["tools"]


def test_missed_period_is_one_line_and_fails(chip, opensta, capsys):
    assert asic.main(["--liberty", str(FEW_CELLS), "--period", "1.6"]) == 1
    assert capsys.readouterr().err == "asic: tiny: top: 1.650 ns, must reach 1.6 ns\n"


def test_period_without_opensta_fails(chip, capsys):
    assert asic.main(["--liberty", str(FEW_CELLS), "--period", "1.6"]) == 1
    assert "the clock is not known: OpenSTA" in capsys.readouterr().err


@pytest.mark.parametrize("word", ["Error: bad.v, syntax error", "Warning: port x$2 not found."])
def test_what_opensta_complains_of_stops(chip, opensta, capsys, word):
    opensta.write_text(f"{word}\n{SAID}")
    assert asic.main(["--liberty", str(FEW_CELLS)]) == 1
    error = capsys.readouterr().err
    assert word in error
    assert error.count("\n") == 1
    assert not list(chip.glob("*_tiny_*/report.*"))


def test_stopped_run_leaves_no_older_report(chip, opensta):
    assert asic.main(["--liberty", str(FEW_CELLS)]) == 0
    opensta.write_text("Error: no\n")
    assert asic.main(["--liberty", str(FEW_CELLS)]) == 1
    assert not list(chip.glob("*_tiny_*/report.*"))


LIBERTY = FEW_CELLS.read_text()
BAD = {
    "empty": ("", "not a Liberty file: it has no group library (...)"),
    "words": ("module (x) is no library;", "not a Liberty file: it has no group library"),
    "other": ("cells (x) { }", "not a Liberty file: cells outside its library"),
    "cut": (LIBERTY[: LIBERTY.index("max_capacitance")], "cut off: pin (Y) does not end"),
    "brace": (LIBERTY + "}", "not a Liberty file: a brace that belongs to no group"),
    "twice": (LIBERTY.replace("cell (BUF)", "cell (INV)"), "cell INV is there twice"),
    "area": (LIBERTY.replace("area : 2.75;", ""), "cell NOR2 has no area"),
    "ff": (without("DFF"), "few_cells: the library has no flip-flop"),
    "nand": (without("NAND2"), "few_cells: the library has no NAND gate of two inputs"),
    "inv": (without("INV"), "few_cells: the library has no inverter"),
}


def refused(arguments, chip, capsys, message, status=2):
    assert asic.main(arguments) == status
    error = capsys.readouterr().err
    assert error.startswith("asic: ")
    assert message in error
    assert error.count("\n") == 1
    assert not list(chip.glob("*_tiny_*/report.*"))


@pytest.mark.parametrize(("text", "message"), BAD.values(), ids=BAD)
def test_file_that_is_no_whole_library_is_refused(chip, capsys, tmp_path, text, message):
    path = tmp_path / "bad.lib"
    path.write_text(text)
    refused(["--liberty", str(path)], chip, capsys, message)


def test_cut_gzip_file_is_refused(chip, capsys, tmp_path):
    path = tmp_path / "bad.lib.gz"
    path.write_bytes(gzip.compress(LIBERTY.encode())[:-100])
    refused(["--liberty", str(path)], chip, capsys, "damaged gzip file")


def test_binary_file_is_refused(chip, capsys, tmp_path):
    path = tmp_path / "bad.lib"
    path.write_bytes(bytes(range(256)))
    refused(["--liberty", str(path)], chip, capsys, "not a Liberty file")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "no library: name its files, LIBERTY=file.lib[,file.lib.gz...]"),
        (["--liberty", "none.lib"], "No such file or directory: 'none.lib'"),
        (["--liberty", str(FEW_CELLS), "--preset", "huge"], "preset must be one of tiny, small"),
        (["--liberty", str(FEW_CELLS), "--module", "arry"], "module must be a unit of the chip"),
        (["--liberty", str(FEW_CELLS), "--dont-use", "NAND*"], "inputs besides NAND*"),
    ],
)
def test_bad_input_is_one_line(chip, capsys, arguments, message):
    refused(arguments, chip, capsys, message)


@pytest.mark.parametrize("period", ["fast", "0", "-1", "inf", "nan"])
def test_period_must_be_a_time(chip, capsys, period):
    with pytest.raises(SystemExit) as stopped:
        asic.main(["--liberty", str(FEW_CELLS), f"--period={period}"])
    assert stopped.value.code == 2
    error = capsys.readouterr().err
    assert f"--period: must be a positive number of ns, not {period!r}" in error
    assert error.count("\n") == 1


def test_missing_yosys_is_named(chip, capsys, monkeypatch):
    monkeypatch.setattr(yosys.importlib.util, "find_spec", lambda name: None)
    refused(["--liberty", str(FEW_CELLS)], chip, capsys, "Yosys is missing", status=1)
