import json
from types import SimpleNamespace

import pytest

from hw.spec.presets import preset
from scripts import perf
from scripts.perf_plot import save_plots
from sim.perf.measure import measure
from sim.perf.report import report
from sim.perf.timeline import intervals, read_units
from sim.perf.workloads import WORKLOADS
from sim.run.console import Console
from tests.e2e.chips import CONFIGS, chip

TINY = preset("tiny")


def test_cycles_are_not_more_than_recorded_and_as_predicted(tmp_path):
    rows = perf.run("tiny", Console(), tmp_path)
    assert perf.worse(rows, json.loads(perf.RECORDED.read_text())) == []
    for row in rows:
        assert abs(row.error) <= 0.01, row
        assert row.ratio <= 1
        assert sum(row.parts.values()) == pytest.approx(row.cycles, rel=0.01)
        # The trace and the chip's counters saw the same.
        assert row.parts["rows fed"] == row.counters["array_rows"]
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
    ):
        found = intervals(cycles, bits, unit)
        assert sum(one.active for one in found) == with_trace.counters[name], unit


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
    return SimpleNamespace(counters={"cycles": cycles, "passes": 2}, units=None)
