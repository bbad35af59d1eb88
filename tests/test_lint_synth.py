import dataclasses
import re

import pytest
from amaranth.back import rtlil
from amaranth.hdl import Module
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

from hw.ecp5.device import Lfe5u85f
from hw.ecp5.mult18x18d import Mult18x18d
from hw.spec.presets import PRESETS
from scripts import lint_synth
from scripts.synth import area, design, mapping, netlist, random_state, target, yosys
from scripts.synth.finding import Finding, Waivers
from scripts.synth.lint_verilog import lint_verilog
from scripts.synth.random_state import without_initial_values
from sim.run.chip import Chip

PORTS = """
  wire input 0 \\clk
  wire input 1 \\a
  wire input 2 \\b
  wire output 3 \\y
"""
NOT = """
  cell $not $1
    parameter \\A_SIGNED 0
    parameter \\A_WIDTH 1
    parameter \\Y_WIDTH 1
    connect \\A {}
    connect \\Y {}
  end
"""
DFF = """
  cell $dff $2
    parameter \\WIDTH 1
    parameter \\CLK_POLARITY 1
    connect \\CLK \\clk
    connect \\D {}
    connect \\Q {}
  end
"""
LATCH = """
  wire $0
  process $3
    assign $0 \\y
    switch \\a
      case 1'1
        assign $0 \\b
    end
    sync always
      update \\y $0
  end
"""
DESIGNS = {
    "clean": (DFF.format("\\a", "\\y"), []),
    "latch": (LATCH, ["Latch inferred", "latch: top: y"]),
    "loop": (NOT.format("\\y", "\\y"), ["logic loop"]),
    "undriven": ("  wire \\x\n" + NOT.format("\\x", "\\y"), ["x is used but has no driver"]),
    "twice": (NOT.format("\\a", "\\y") + DFF.format("\\b", "\\y"), ["conflicting drivers"]),
    "unread": (
        "  wire \\sleeper\n" + DFF.format("\\b", "\\sleeper") + NOT.format("\\a", "\\y"),
        ["unread: top: register sleeper"],
    ),
}  # fmt: skip


class Adder(wiring.Component):
    a: In(4)
    b: In(4)
    total: Out(4)

    def elaborate(self, platform):
        m = Module()
        m.d.sync += self.total.eq(self.a + self.b)
        return m


class TwoAdders(wiring.Component):
    a: In(4)
    b: In(4)
    o: Out(4)

    def __init__(self, connected):
        super().__init__()
        self.connected = connected

    def elaborate(self, platform):
        m = Module()
        m.submodules.first = first = Adder()
        m.submodules.second = second = Adder()
        m.d.comb += [first.a.eq(self.a), first.b.eq(self.b), second.a.eq(self.a)]
        if self.connected:
            m.d.comb += second.b.eq(self.b)
        m.d.comb += self.o.eq(first.total & ~second.total)
        return m


class Store(wiring.Component):
    addr: In(10)
    data: In(8)
    o: Out(8)

    def elaborate(self, platform):
        m = Module()
        m.submodules.words = words = memory.Memory(shape=8, depth=1024, init=[])
        write, read = words.write_port(), words.read_port()
        m.d.comb += [write.addr.eq(self.addr), read.addr.eq(self.addr), self.o.eq(read.data)]
        m.d.comb += [write.data.eq(self.data), write.en.eq(self.data[0]), read.en.eq(1)]
        return m


def modules(component):
    return design.modules(rtlil.convert(component, name="serrano"))


@pytest.mark.parametrize(("body", "expected"), DESIGNS.values(), ids=DESIGNS)
def test_netlist_fault_is_found(body, expected, tmp_path):
    source = tmp_path / "planted.il"
    source.write_text(f"attribute \\top 1\nmodule \\serrano\n{PORTS}{body}end\n")
    found = [str(finding) for finding in netlist.check_netlist(source, tmp_path / "out")]
    assert len(found) == len(expected), found
    for line, text in zip(found, expected, strict=True):
        assert text in line


def test_unconnected_input_is_found():
    found = [str(finding) for finding in netlist.constant_inputs(modules(TwoAdders(False)))]
    assert found == ["constant: second: b = 4'0000"]


def test_connected_inputs_are_clean():
    assert netlist.constant_inputs(modules(TwoAdders(True))) == []


@pytest.mark.parametrize(
    ("body", "rule"),
    [("assign y = a;", None),
     ("wire lost; assign y = a & lost;", "UNDRIVEN: Signal is not driven"),
     ("  wire [1:0] w;\nassign w = {a, a}; assign y = w[0];",
      "UNUSEDSIGNAL: wire: Bits of signal are not used"),
     ("  reg r;\nalways @(posedge a) r <= 1; assign y = a;",
      "UNUSEDSIGNAL: reg: Signal is not used"),
     ("assign y = 1;", "UNUSEDSIGNAL: input: Signal is not used")],
    ids=["clean", "undriven", "unused", "unread", "deaf"],
)  # fmt: skip
def test_verilator_warning_is_a_finding(body, rule, tmp_path):
    path = tmp_path / "serrano.v"
    path.write_text(f"module serrano(a, y);\n  input a;\n  output y;\n{body}\nendmodule\n")
    found = lint_verilog(path, "serrano")
    assert [finding.what.split(": '")[0] for finding in found] == ([rule] if rule else [])


def test_black_box_has_no_findings(tmp_path):
    path = tmp_path / "serrano.v"
    box = "(* blackbox *)\nmodule box(a, y);\n  input a;\n  output y;\nendmodule\n"
    top = "module serrano(input a, output y);\nbox inner(.a(a), .y(y));\nendmodule\n"
    path.write_text(top + box)
    assert lint_verilog(path, "serrano") == []
    path.write_text(top + box.replace("(* blackbox *)\n", ""))
    assert lint_verilog(path, "serrano")


def test_unit_without_its_inside_is_a_black_box():
    class Outer(wiring.Component):
        a: In(4)
        o: Out(4)

        def elaborate(self, platform):
            m = Module()
            m.submodules.pair = pair = TwoAdders(True)
            m.d.comb += [pair.a.eq(self.a), pair.b.eq(self.a), self.o.eq(pair.o)]
            return m

    text = target.without_inside(rtlil.convert(Outer(), name="serrano"), "pair")
    found = design.modules(text)
    assert [module.unit for module in found.values()] == ["top", "pair"]
    assert "cell" not in found["serrano.pair"].text
    assert len(found["serrano.pair"].ports()) == 4  # both operands are one
    assert text.count("attribute \\blackbox 1\nmodule \\serrano.pair\n") == 1
    assert text.count("attribute \\top 1") == 1


def test_board_has_no_chip_in_it(tmp_path, monkeypatch):
    looked = target.target("ulx3s_board")
    assert (looked.top, looked.config) == ("serrano.board", PRESETS["ulx3s"])
    units = {"board": 3, "board.uart": 1, "board.chip": 0}
    assert looked.without_box(units) == {"board": 3, "board.uart": 1}


def synthesised(found, ecp5=None):
    with mapping.workers() as pool:
        return area.begin_modules(pool, found, ecp5)()


def test_cell_in_place_of_its_twin_is_what_is_measured(tmp_path, monkeypatch):
    monkeypatch.setattr(area, "BUILD", tmp_path)
    sites = {}
    for site in (None, "X4/Y10/MULT18_0", "X5/Y10/MULT18_1"):
        unit = Mult18x18d(a_width=8, b_width=8, site=site)
        found, cells = (
            design.modules(rtlil.convert(unit, name="serrano", platform=platform))
            for platform in (None, Lfe5u85f())
        )
        sites[site] = design.alone(cells["serrano"], cells)
        units = area.subtrees(cells, synthesised(found, cells))
        assert units["top"]["dsp"] == 1
        assert units["top"]["ff"] == 0
        assert units["top"]["gate_ff"] == 48
    assert len(set(sites.values())) == 1


def test_waiver_allows_only_what_it_names(tmp_path):
    path = tmp_path / "waivers.toml"
    path.write_text(
        "[[waiver]]\nmatch = 'unread: core: .*'\nreason = 'known'\n"
        "[[waiver]]\nmatch = 'latch: .*'\nreason = 'old'\n"
    )
    waivers = Waivers(path)
    known, other = Finding("unread", "core", "register a"), Finding("unread", "csr", "register a")
    longer = Finding("yosys", "top", str(known))
    assert waivers.left([known, longer, other]) == [other, longer]
    assert waivers.unused() == ["latch: .*"]


@pytest.mark.parametrize(
    "entry", ["match = 'a'", "match = 'a'\nreason = ' '", "match = '('\nreason = 'b'"]
)
def test_waiver_must_have_reason_and_expression(entry, tmp_path):
    path = tmp_path / "waivers.toml"
    path.write_text(f"[[waiver]]\n{entry}\n")
    with pytest.raises(ValueError, match="waivers.toml: "):
        Waivers(path)


def test_every_waiver_of_the_chip_has_a_reason():
    assert Waivers().unused()


def test_initial_values_are_removed_but_those_of_tables():
    text = (
        "module a;\n  reg [3:0] count = 4'h7;\n  reg \\$auto$x = 0;\n  reg [1:0] ram [1:0];\n"
        "  initial begin\n    ram[0] = 2'h1;\n    ram[1] = 2'h2;\n  end\n"
        "  always @(posedge clk)\n    if (en)\n      ram[addr] <= data;\n"
        "  initial begin\n    table[0] = 2'h3;\n    table[1] = 2'h0;\n  end\nendmodule\n"
    )
    stripped = without_initial_values(text)
    assert "reg [3:0] count ;" in stripped or "reg [3:0] count;" in stripped
    assert "\\$auto$x = 0;" in stripped
    assert "ram[0] =" not in stripped
    assert "table[0] = 2'h3;" in stripped


def test_equal_modules_are_synthesised_once():
    found = modules(TwoAdders(True))
    texts = [design.alone(m, found) for m in found.values() if m.unit in ("first", "second")]
    assert len(texts) == 2
    assert len(set(texts)) == 1


def test_module_by_itself_does_not_tell_where_it_was_written():
    found = modules(Store())
    numbered = re.sub(r"\$(\d+)", lambda match: f"${int(match[1]) + 70}", found["serrano"].text)
    moved = {**found, "serrano": dataclasses.replace(found["serrano"], text=numbered)}
    text = design.alone(found["serrano"], found)
    assert "test_lint_synth" not in text
    assert design.alone(moved["serrano"], moved) == text


def test_areas_are_counted_and_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(area, "BUILD", tmp_path)
    found = modules(Store())
    units = area.subtrees(found, synthesised(found))
    assert units["top"]["bram"] == 1
    assert units["top"]["memory_bits"] == 8 * 1024
    monkeypatch.setattr(mapping, "run_yosys", None)
    assert area.subtrees(found, synthesised(found)) == units


def test_area_of_a_unit_is_that_of_its_parts(tmp_path, monkeypatch):
    monkeypatch.setattr(area, "BUILD", tmp_path)
    found = modules(TwoAdders(True))
    units = area.subtrees(found, synthesised(found))
    assert units["first"]["ff"] == 4
    assert units["top"]["ff"] == 8


def test_area_of_a_hierarchy_is_that_of_all_it_holds(tmp_path):
    text = design.without_sources(rtlil.convert(TwoAdders(True), name=design.TOP))
    assert mapping.mapped({"ecp5": text}, design.TOP, tmp_path)["ecp5"]["TRELLIS_FF"] == 8


def test_design_as_one_is_synthesised_beside_its_modules(tmp_path, monkeypatch):
    monkeypatch.setattr(area, "BUILD", tmp_path)
    text = rtlil.convert(Store(), name=design.TOP)
    found = design.modules(text)
    with mapping.workers() as pool:
        whole, results = area.begin_whole(pool, text, text), area.begin_modules(pool, found)
        units, figures = area.subtrees(found, results()), area.figures(whole(), 0)
    assert units["top"] == figures | {"memory_bits": 8 * 1024}
    assert (figures["bram"], figures["memory_bits"]) == (1, 0)


def test_large_memory_in_luts_is_found():
    found = modules(Store())
    name = next(name for name, module in found.items() if module.memories)
    mapped = {memory.name: "LUT RAM" for memory in found[name].memories}
    results = {other: {"memories": mapped if other == name else {}} for other in found}
    assert [finding.what for finding in area.misplaced(found, results)] == [
        f"{next(iter(mapped))} 1024 x 8 in LUT RAM"
    ]


def test_unknown_preset_is_one_line(capsys):
    assert lint_synth.main(["--preset", "huge"]) == 2
    allowed = ", ".join((*PRESETS, "ulx3s_board", "ulx4m_ls_board"))
    assert capsys.readouterr().err == f"lint-synth: preset must be one of {allowed}, not 'huge'\n"


@pytest.fixture
def nothing_found(monkeypatch):
    monkeypatch.setattr(lint_synth, "_run", lambda targets, accept: [])


def test_missing_ruff_is_a_line(nothing_found, capsys, monkeypatch):
    spec = lint_synth.importlib.util.find_spec
    monkeypatch.setattr(
        lint_synth.importlib.util,
        "find_spec",
        lambda name: None if name == "ruff" else spec(name),
    )
    assert lint_synth.main(["--preset", "tiny"]) == 1
    caught = capsys.readouterr()
    assert caught.err.startswith("lint-synth: ruff is missing: `pip install ruff`")
    assert "1 problems" in caught.out


def test_style_is_a_line(nothing_found, capsys, monkeypatch, tmp_path):
    (tmp_path / "bad.py").write_text("import os\n")
    monkeypatch.setattr(design, "ROOT", tmp_path)
    assert lint_synth.main(["--preset", "tiny"]) == 1
    assert capsys.readouterr().err == "lint-synth: style: `ruff check .` is not content\n"


def test_run_from_zero_that_fails_is_a_finding(monkeypatch, tmp_path):
    def failed(*words):
        raise random_state.RunFailed("no end")

    monkeypatch.setattr(random_state, "BUILD", tmp_path)
    monkeypatch.setattr(random_state, "_build", lambda folder, config: Chip(config, folder, folder))
    monkeypatch.setattr(random_state, "_outcome", failed)
    assert [str(found) for found in random_state.check_reset()] == ["reset: top: from zero: no end"]


def test_reset_is_looked_at_again_with_another_simulator(monkeypatch, tmp_path):
    runs = []
    monkeypatch.setattr(random_state, "BUILD", tmp_path)
    monkeypatch.setattr(random_state, "_build", lambda folder, config: Chip(config, folder, folder))
    monkeypatch.setattr(random_state, "_outcome", lambda *words: runs.append(words) or {})
    for version in ("verilator 1", "verilator 1", "verilator 2"):
        monkeypatch.setattr(random_state, "verilator_version", lambda found=version: found)
        assert random_state.check_reset() == []
    assert len(runs) == 2 * (1 + len(random_state.SEEDS))


def test_missing_yosys_is_one_line(capsys, monkeypatch):
    monkeypatch.setattr(yosys.importlib.util, "find_spec", lambda name: None)
    assert lint_synth.main(["--preset", "tiny"]) == 1
    assert capsys.readouterr().err.startswith("lint-synth: Yosys is missing: `pip install")


def test_yosys_error_is_told_with_its_log(tmp_path):
    with pytest.raises(yosys.ToolError, match=r"ERROR: .*no_such_pass.*yosys\.log"):
        yosys.run_yosys(["no_such_pass"], tmp_path)


def test_file_is_whole_or_as_before(tmp_path, monkeypatch):
    path = tmp_path / "areas.md"
    design.write_whole(path, "before")

    def interrupted(self, target):
        raise KeyboardInterrupt

    monkeypatch.setattr(design.Path, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        design.write_whole(path, "after")
    assert path.read_text() == "before"


def test_signal_names_are_ours():
    assert design.unit_name("serrano.core.results.qkv.rope$63") == "core.results.qkv.rope"
    assert design.unit_name("serrano") == "top"
