"""Tests of `scripts.coverage`: from a simulator's counts to the page."""

import json
from types import SimpleNamespace

import pytest
from amaranth.hdl import signed, unsigned
from amaranth.lib import data

from hw.lib.slice import Slice
from hw.spec import isa
from scripts import coverage
from scripts.synth.design import ROOT
from scripts.verify import coverage_merge, coverage_page, coverage_plugin
from scripts.verify.coverage_merge import merge
from sim.coverage import collect
from sim.coverage.collect import Unit
from sim.coverage.emit import COMMENT, convert
from sim.run.session import MemoryTiming, Request
from sim.verilate import BuildError
from tests.support import bench
from tests.support import coverage as functional
from tests.support.runner import run_bench

SLICE = "hw/lib/slice.py"
FLUSH = "m.d.sync += [front_full.eq(0), spare_full.eq(0)]"


def _place(text):
    """Return where in the slice's source a text is."""
    lines = (ROOT / SLICE).read_text().splitlines()
    (number,) = (n for n, line in enumerate(lines, 1) if text in line)
    return f"{SLICE}:{number}"


def _keep(folder, name, lines, signals, file=SLICE):
    """Write what a simulator would have met of one unit."""
    sources = {path.rpartition(":")[0]: "" for path in lines} | {file: ""}
    sources = {path: collect._digest(path) for path in sources}
    signals = {
        # Unless it is given, every bit is free.
        signal: [f"{bits:x}" for bits in (*masks, *masks[:1])[:4]]
        for signal, masks in signals.items()
    }
    content = {"sources": sources, "units": {file: {"lines": lines, "signals": signals}}}
    (folder / "runs").mkdir(exist_ok=True, parents=True)
    (folder / "runs" / f"{name}.json").write_text(json.dumps(content))


def _waivers(folder, *entries):
    path = folder / "waivers.toml"
    path.write_text(
        "".join(f"[[waiver]]\nmatch = '''{m}'''\nreason = '{reason}'\n" for m, reason in entries)
    )
    return path


def call(capsys, *arguments):
    """Run the command; return (status, output, errors)."""
    try:
        status = coverage.main(list(map(str, arguments)))
    except SystemExit as left:
        status = left.code
    return status, *capsys.readouterr()


def test_blocks_of_the_verilog_name_their_statements():
    lines = convert(Slice(12), "dut").splitlines()
    blocks = [n for n, line in enumerate(lines) if line == f"{COMMENT}{_place(FLUSH)}"]
    # One for each of the two registers that the statement sets.
    assert len(blocks) == 2
    for number in blocks:
        assert "= 1'h0;" in lines[number - 1]
        assert lines[number - 2].strip() == "if (flush) begin"
    assert not any("\\$" in line or "cov_mark" in line for line in lines)


def test_bench_leaves_what_it_met_and_what_not(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv(collect.VARIABLE, str(tmp_path))
    for _ in range(2):
        run_bench(
            Slice(12), "tests.hw.bench_slice", params={"width": 12}, tests="order_is|latency_is"
        )
    printed = capsys.readouterr().out
    assert printed.count("coverage is there already") == 1
    report = merge(tmp_path, _waivers(tmp_path))
    (unit,) = report.units
    assert (unit.name, unit.runs) == (SLICE, 1)
    # No test of these flushes; all else is met.
    assert [(hole.where, hole.what) for hole in unit.holes] == [
        (_place(FLUSH), FLUSH),
        ("flush", "flush never rises"),
        ("flush", "flush never falls"),
    ]
    lines, toggles = unit.counts.values()
    assert (lines.met, lines.total) == (6, 7)
    assert toggles.met == toggles.total - 2 > 80
    groups = {group.name: group for group in report.groups}
    missed = {hole.what for hole in groups["streams.units x stalls"].holes}
    for side in functional.SIDES:
        assert not {f"slice {side} / {stall}" for stall in functional.STALLS} & missed
    assert "queue sends / never" in missed
    states = {hole.what for hole in groups["handshakes.units x states"].holes}
    assert not {f"slice / {state}" for state in ("moved", "held", "moved again")} & states


def test_what_any_simulator_met_is_met(tmp_path):
    _keep(tmp_path, "a", {f"{SLICE}:1": 1, f"{SLICE}:2": 0}, {"x": (0xF, 0x3, 0xF)})
    _keep(tmp_path, "b", {f"{SLICE}:2": 0, f"{SLICE}:3": 1}, {"x": (0xFF, 0xF4, 0xF0)})
    (unit,) = merge(tmp_path, _waivers(tmp_path)).units
    lines, toggles = unit.counts.values()
    assert (lines.met, lines.total, lines.percent) == (2, 3, pytest.approx(66.7, abs=0.1))
    assert (toggles.met, toggles.total) == (7 + 8, 16)
    assert [(hole.what, hole.points) for hole in unit.holes[1:]] == [("x[3] never rises", 1)]


def test_reason_excludes_a_hole_and_both_are_counted(tmp_path):
    _keep(tmp_path, "a", {f"{SLICE}:1": 0}, {"addr": (0xFF, 0x0F, 0x0F), "y": (1, 0, 1)})
    waivers = _waivers(
        tmp_path, (r"toggle: .*: addr\[[45]\] (rises|falls)", "no memory is so large"), ("x", "no")
    )
    report = merge(tmp_path, waivers)
    toggles = report.totals["toggles"]
    assert (toggles.met, toggles.excluded, toggles.total) == (9, 4, 18)
    assert toggles.percent == pytest.approx(100 * 9 / 14)
    assert toggles.raw == 50
    reasons = {hole.what: hole.reason for hole in report.units[0].holes}
    assert reasons["addr[4-5] never rises"] == "no memory is so large"
    assert reasons["addr[6-7] never falls"] is None
    assert reasons["y never rises"] is None
    assert report.unused == ["x"]


def test_constant_bits_are_excluded_unless_they_are_free_in_some_build(tmp_path):
    _keep(tmp_path, "a", {}, {"x": (0xFF, 0x0F, 0x0F, 0x3F)})
    _keep(tmp_path, "b", {}, {"x": (0xFF, 0x0F, 0x0F, 0x4F)})
    (unit,) = merge(tmp_path, _waivers(tmp_path)).units
    toggles = unit.counts["toggles"]
    assert (toggles.met, toggles.total, toggles.excluded) == (8, 16, 2)
    assert ("x[7] never falls", coverage_merge.CONSTANT) in [(h.what, h.reason) for h in unit.holes]


def test_hole_of_a_line_is_matched_by_its_text(tmp_path):
    _keep(tmp_path, "a", {_place(FLUSH): 0}, {})
    report = merge(tmp_path, _waivers(tmp_path, (r"line: hw/lib/slice\.py: .*spare_full.*", "so")))
    assert report.totals["lines"].excluded == 1
    assert report.below() == []


def test_unit_whose_source_changed_is_left_out(tmp_path):
    _keep(tmp_path, "old", {f"{SLICE}:1": 0}, {})
    path = tmp_path / "runs" / "old.json"
    path.write_text(path.read_text().replace(collect._digest(SLICE), "0" * 16))
    _keep(tmp_path, "new", {f"{SLICE}:2": 1}, {})
    (unit,) = merge(tmp_path, _waivers(tmp_path)).units
    assert (unit.counts["lines"].met, unit.counts["lines"].total) == (1, 1)


def test_functional_bins_of_all_simulators_are_added(tmp_path):
    _keep(tmp_path, "a", {}, {})
    (tmp_path / "functional").mkdir()
    for name, bins in (("a", {"one": 2, "two": 0, "three": 0}), ("b", {"one": 0, "two": 1})):
        (tmp_path / "functional" / f"{name}.json").write_text(json.dumps({"group.point": bins}))
    report = merge(tmp_path, _waivers(tmp_path, ("bin: group.point: t.*", "why not")))
    (group,) = report.groups
    assert (group.count.met, group.count.total, group.count.excluded) == (2, 3, 1)
    assert [(hole.what, hole.reason) for hole in group.holes] == [("three", "why not")]


def test_units_below_a_goal_are_listed(tmp_path, capsys):
    folder = tmp_path / "data"
    _keep(folder, "a", {f"{SLICE}:{n}": n > 2 for n in range(1, 21)}, {"x": (1, 1, 1)})
    _keep(folder, "b", {}, {"y": (0xFFF, 0xFFF, 0xFF)}, "hw/lib/queue.py")
    status, output, errors = call(capsys, "--report", "--folder", tmp_path)
    assert status == 1
    assert "lines: 90.0 %" in output
    assert errors.splitlines() == [
        "coverage: all units: lines 90.0 %, goal 95 %",
        "coverage: all units: toggles 84.6 %, goal 90 %",
        "coverage: hw/lib/queue.py: toggles 83.3 %, goal 90 %",
        "coverage: hw/lib/slice.py: lines 90.0 %, goal 95 %",
    ]
    page = (tmp_path / "index.html").read_text()
    for text in (f"<code>{SLICE}</code>", "y[8-11] never falls", "hw/core.py", "84.6 %"):
        assert text in page


def test_all_at_their_goal_is_success(tmp_path, capsys):
    _keep(tmp_path / "data", "a", {f"{SLICE}:1": 1}, {"x": (1, 1, 1)})
    status, _, errors = call(capsys, "--report", "--folder", tmp_path)
    assert (status, errors) == (0, "")


def test_record_has_a_row_for_each_unit(tmp_path):
    _keep(tmp_path, "a", {f"{SLICE}:1": 0}, {"x": (3, 3, 3)})
    found = coverage_page.record(merge(tmp_path, _waivers(tmp_path)), "make coverage", ["tool 1"])
    assert found.rows == [[SLICE, "0.0", "0 / 1", "0", "100.0", "4 / 4", "0"]]
    assert ["units below a goal", SLICE] in found.summary


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("runs/a.json", "{", "is no coverage of ours"),
        ("runs/a.json", '{"units": {}}', "is no coverage of ours"),
        ("functional/a.json", "[]", "is no functional coverage of ours"),
        ("functional/a.json", '{"point": {"bin": "x"}}', "is no functional coverage of ours"),
    ],
)
def test_damaged_data_is_one_line(name, text, message, tmp_path, capsys):
    _keep(tmp_path / "data", "b", {}, {"x": (1, 1, 1)})
    path = tmp_path / "data" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    status, output, errors = call(capsys, "--report", "--folder", tmp_path)
    assert (status, output) == (2, "")
    assert message in errors
    assert errors.count("\n") == 1
    assert not (tmp_path / "index.html").exists()


def test_bad_input_is_one_line(tmp_path, capsys, monkeypatch):
    status, _, errors = call(capsys, "--colour")
    assert (status, errors) == (2, "coverage: unrecognized arguments: --colour\n")
    status, _, errors = call(capsys, "--report", "--folder", tmp_path)
    assert status == 2
    assert errors == f"coverage: {tmp_path}/data has no coverage: run `make coverage` first\n"

    def missing():
        raise BuildError("Verilator is missing: install it")

    monkeypatch.setattr(coverage, "find_verilator", missing)
    status, _, errors = call(capsys, "--folder", tmp_path)
    assert (status, errors) == (2, "coverage: Verilator is missing: install it\n")


def test_committed_reasons_can_be_read(tmp_path):
    _keep(tmp_path, "a", {}, {"x": (1, 1, 1)})
    assert merge(tmp_path, coverage_merge.WAIVERS).units


class _Item:
    """What the plugin asks of a test of pytest."""

    def __init__(self, nodeid):
        self.nodeid = nodeid
        self.path, _, name = nodeid.partition("::")
        self.originalname = name.partition("[")[0]


@pytest.mark.parametrize(
    ("first", "left"),
    [(False, ["test_a[1]", "test_a[2]", "test_b[2]"]), (True, ["test_a[1]"])],
    ids=["all cases", "first cases"],
)
def test_first_cases_come_first_and_what_passed_not_again(first, left, tmp_path, monkeypatch):
    monkeypatch.setenv(collect.VARIABLE, str(tmp_path))
    names = ["test_a[1]", "test_a[2]", "test_b[1]", "test_b[2]"]
    items = [_Item(f"tests/e2e/test_x.py::{name}") for name in names]
    dropped = []
    hook = SimpleNamespace(pytest_deselected=lambda items: dropped.extend(items))
    report = SimpleNamespace(nodeid=items[2].nodeid, when="call", passed=True)
    coverage_plugin.pytest_runtest_logreport(report)
    config = SimpleNamespace(hook=hook, getoption=lambda name: first)
    coverage_plugin.pytest_collection_modifyitems(config, items)
    assert [item.nodeid.partition("::")[2] for item in items] == left
    assert len(items) + len(dropped) == len(names)


def test_edges_of_numbers():
    for value, name in ((-128, "lowest"), (127, "highest"), (-1, "minus one"), (2, None)):
        assert functional.edge(signed(8), value) == name
    assert functional.edge(unsigned(8), 255) == "highest"
    assert functional.edge(unsigned(8), 0) == "zero"


def test_numbers_and_kind_of_a_payload():
    shape = data.StructLayout({"data": data.ArrayLayout(signed(4), 2), "last": 1})
    assert functional.kind_of(shape) == "packet"
    found = [(one.width, value) for one, value in functional.numbers(shape, _PAYLOAD)]
    assert found == [(4, -8), (4, 7), (1, 1)]


_PAYLOAD = {"data": [-8, 7], "last": 1}


def test_units_of_the_cross_drive_streams():
    assert ("slice", "sends") in functional.units()
    assert "slice" in functional.watched()
    assert "mult18x18d" not in functional.watched()


def test_edges_are_noted_with_shape_and_stall(monkeypatch):
    from cocotb_coverage.coverage import coverage_db

    monkeypatch.setattr(functional, "ENABLED", True)
    note = functional.stream("takes", data.ArrayLayout(4, 2), bench.STALLS["one_in_four"])
    note([3, 15])
    bins = coverage_db["edges.shapes x stalls x edges"].detailed_coverage
    met = {key for key, hits in bins.items() if hits}
    assert met == {("takes", "array", "one_in_four", "highest")}


def test_runs_and_errors_of_chips_are_noted():
    from cocotb_coverage.coverage import coverage_db

    from tests.support import coverage_points as points

    linear = {"dest": isa.DESTINATIONS["glu"], "activation": 2, "strips0": 4, "bias": True}
    steps = [("embed", {"positions": 1}), ("attention", {"window": 3}), ("linear", linear)]
    compiled = SimpleNamespace(
        config=SimpleNamespace(tiles=2),
        shape=SimpleNamespace(group=4),
        steps=[SimpleNamespace(operator=name, fields=fields) for name, fields in steps],
    )
    requests = [
        Request(prompt=(1, 2), max_tokens=1),
        Request(prompt=(1, 2), max_tokens=3, temperature=1.0, top_k=4, report=2),
    ]
    results = [
        SimpleNamespace(kind="end", tokens=[5]),
        SimpleNamespace(kind="failed", tokens=[]),
    ]
    timing = MemoryTiming({"latency": 60})
    points.note_session(
        SimpleNamespace(compiled=compiled, requests=requests, results=results, timing=timing)
    )

    def met(name):
        bins = coverage_db[name].detailed_coverage
        return {key for key, hits in bins.items() if hits}

    assert met("operators.operators x modes x tiles") == {
        ("embed", "prompt", 2), ("attention", "prompt", 2), ("linear glu", "prompt", 2),
    }  # fmt: skip
    assert ("attention", "stalled") in met("operators.operators x memories")
    assert met("operators.memory") == {"stalled"}
    assert met("models.activation") == {"gelu_tanh"}
    assert met("models.gated") == {False}
    assert met("models.window") == met("models.bias") == {True}
    assert met("models.positions") == {"learned"}
    assert met("runs.drawn x report") == {("greedy", False)}  # the other request failed
    points.error("axi_slverr", "layer 1 glu")
    points.error("page_miss", None)
    assert met("errors.of a chip") == {"axi_slverr"}
    assert met("errors.operator") == {"linear glu"}
    assert met("errors.causes x operators") == {("axi_slverr", "linear glu")}
    assert met("errors.of a request") == {"page_miss"}
    with pytest.raises(ValueError, match="cause must be one of none, .*, not 'smoke'"):
        points.error("smoke", None)


def test_unit_adds_another_of_the_same():
    unit = Unit({"a:1": False}, {"x": (1, 0, 1, 0)})
    unit.add(Unit({"a:1": True, "a:2": False}, {"x": (3, 3, 0, 2)}))
    assert unit.lines == {"a:1": True, "a:2": False}
    assert unit.signals == {"x": (3, 3, 1, 2)}
