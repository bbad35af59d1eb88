import json
from types import SimpleNamespace

import pytest

from hw.spec import csr
from hw.spec.presets import preset
from scripts import perf
from scripts.perf_plot import save_plots
from sim.perf.measure import measure
from sim.perf.report import report
from sim.perf.timeline import intervals, operators, read_units
from sim.perf.workloads import WORKLOADS
from sim.run.console import Console
from tests.e2e.chips import CONFIGS, chip

TINY = preset("tiny")


def test_cycles_are_not_more_than_recorded_and_as_predicted(tmp_path):
    rows = perf.run("tiny", Console(), tmp_path)
    workloads = {workload.name: workload for workload in WORKLOADS["tiny"]}
    assert perf.worse(rows, json.loads(perf.RECORDED.read_text())) == []
    for row in rows:
        assert abs(row.error) <= 0.01, row
        assert row.ratio <= 1
        assert sum(row.parts.values()) == pytest.approx(row.cycles, rel=0.01)
        # The trace and the chip's counters saw the same.
        assert row.parts["rows fed"] == row.counters["array_rows"]
        _adds_up(row)
        # Words of the streams whose lengths are known from the shape.
        passes = workloads[row.name].passes(TINY)
        fed = sum(count for segments in passes for count, _ in segments)
        expected = dict.fromkeys(csr.OPERATOR_KINDS, 0)
        for step in workloads[row.name].steps():
            if step.kind not in ("attention", "end"):
                times = fed if step.kind in ("embed", "rope") else row.passes
                expected[step.dest or step.kind] += times * step.words(TINY)
        expected["attention"] = row.counters["op_attention_words"]
        for kind, words in expected.items():
            assert row.counters[f"op_{kind}_words"] == words, (row.name, kind)
            assert row.kinds[kind]["bytes"] == words * TINY.cols
    assert len(list(tmp_path.glob("timeline-*.json"))) == len(rows)
    paths = save_plots(rows, TINY, "tiny", tmp_path)
    assert all(path.stat().st_size > 1000 for path in paths)


@pytest.mark.parametrize("workload", WORKLOADS["tiny"][:2], ids=lambda workload: workload.name)
def test_two_tiles_are_nearly_twice_as_fast_and_as_predicted(workload, tmp_path):
    name = "4x4, 2 tiles"
    row = report(workload, CONFIGS[name], measure(workload, chip(name), tmp_path, units=True))
    assert abs(row.error) <= 0.01, row
    assert row.ratio <= 1
    assert json.loads(perf.RECORDED.read_text())[workload.name] > 1.9 * row.cycles
    assert sum(row.parts.values()) == pytest.approx(row.cycles, rel=0.01)
    assert 2 * row.parts["rows fed"] == row.counters["array_rows"]
    _adds_up(row)


def test_trace_of_the_units_changes_nothing(tmp_path):
    workload = WORKLOADS["tiny"][1]
    with_trace, without = (
        measure(workload, chip("4x4"), tmp_path / name, units=units)
        for name, units in (("with", True), ("without", False))
    )
    assert with_trace.counters == without.counters
    assert with_trace.tokens == without.tokens
    assert not (tmp_path / "without" / "units.bin").exists()
    cycles, bits = read_units(with_trace.units)
    for unit, name in (
        ("norm", "norm_busy"),
        ("softmax", "softmax_busy"),
        ("write", "write_beats"),
        ("read", "read_beats"),
        ("stalled", "prefetch_full"),
        ("loading", "weight_words"),
        ("starved", "array_starved"),
        ("matmul", "array_busy"),
        ("drain", "post_busy"),
        ("attention", "attention_busy"),
        ("tables", "tables_busy"),
        ("kv_writer", "kv_writer_busy"),
    ):
        found = intervals(cycles, bits, unit)
        assert sum(one.active for one in found) == with_trace.counters[name], unit


@pytest.mark.parametrize("workload", WORKLOADS["tiny"][:3:2], ids=lambda workload: workload.name)
def test_kinds_of_operators_are_counted_as_the_trace_shows_them(workload, tmp_path):
    measured = measure(workload, chip("4x4"), tmp_path, units=True)
    cycles, bits = read_units(measured.units)
    kind_of = {step.name: step.dest or step.kind for step in workload.steps()}
    fed = intervals(cycles, bits, "feeding", join=1)
    found = {f"op_{kind}_cycles": 0 for kind in csr.OPERATOR_KINDS}
    found |= {f"op_{kind}_rows": 0 for kind in csr.ARRAY_KINDS}
    for one in operators(cycles, bits):
        kind = kind_of[measured.names[one.op]]
        if kind == "end":
            continue
        found[f"op_{kind}_cycles"] += one.cycles
        inside = (row for row in fed if one.start <= row.start and row.stop <= one.stop)
        if kind in csr.ARRAY_KINDS:
            found[f"op_{kind}_rows"] += sum(row.cycles for row in inside)
    assert {name: measured.counters[name] for name in found} == found


def _adds_up(row):
    """Kinds of operators share out all that is counted, and no state is longer than the run."""
    counters = row.counters
    kinds = csr.OPERATOR_KINDS
    assert sum(counters[f"op_{kind}_words"] for kind in kinds) == counters["stream_words"]
    assert sum(counters[f"op_{kind}_rows"] for kind in csr.ARRAY_KINDS) == counters["array_rows"]
    assert sum(row.spent.values()) == row.cycles
    assert 0 < row.spent["between"] < 0.1 * row.cycles
    assert all(0 <= share <= 1 for states in row.units.values() for share in states.values())
    for unit, states in row.units.items():
        assert 0 < states["busy"], unit
        if unit != "scheduler":
            assert states.get("stalled", 0) <= states["busy"], unit
    for unit in ("stream", "array", "norm", "attention", "tables"):
        assert row.units[unit]["starved"] <= row.units[unit]["busy"], unit


def test_more_cycles_than_recorded_are_told(tmp_path):
    row = report(WORKLOADS["tiny"][0], TINY, _fake(100))
    assert perf.worse([row], {row.name: 100}) == []
    assert perf.worse([row], {row.name: 99}) == [f"{row.name}: 100 cycles, and 99 are recorded"]
    assert perf.worse([row], {}) == [f"{row.name}: no cycles are recorded"]


def test_tiles_are_compared_with_one_and_clocks_with_goals():
    small, kv260 = WORKLOADS["small"], WORKLOADS["kv260"]
    config, name = preset("kv260"), kv260[0].name
    (like,) = (workload for workload in small if workload.name == name)
    alone = [report(workload, config, _fake(500)) for workload in kv260]
    found = {
        "small": [report(workload, preset("small"), _fake(2000)) for workload in small],
        "kv260": alone,
    }
    assert (like.shape, like.start, like.tokens) == ("smollm2", kv260[0].start, kv260[0].tokens)
    shown = [str(cell) for cell in perf.table(found).columns[-1].cells]
    assert shown[: len(small)] == [""] * len(small)
    assert shown[len(small)] == (
        "4.00 times as fast as small (goal 3.7); 1,000,000 tokens/s at 250 MHz"
    )
    assert shown[-2] == "4.00 times as fast as small"
    assert shown[-1] == "500,000 tokens/s at 250 MHz (goal 100)"
    shown = [str(cell) for cell in perf.table({"kv260": alone}).columns[-1].cells]
    assert not any("times" in text for text in shown)


def _fake(cycles):
    counters = dict.fromkeys(csr.COUNTERS, 0) | {"cycles": cycles, "passes": 2}
    return SimpleNamespace(counters=counters, units=None)
