"""Tests of `make faults`, without a simulator."""

import pytest

from scripts import faults
from sim.faults.case import KINDS, Case
from sim.verilate import BuildError

CLEAN = {"tokens": [4, 5], "candidates": [[4, 9]], "cycles": 7000, "error": None}
GOOD = CLEAN | {"hang": False, "corrected": 0, "swept": 0}


@pytest.fixture
def campaign(monkeypatch):
    """Play the simulator: a list of what is seen, by number, is what the cases give."""
    seen, saved = {}, []

    def run_cases(chip, numbers, *, seed, folder):
        cases = [Case(n, KINDS[n % len(KINDS)], "core.tile_0.scores.maxima", n) for n in numbers]
        return CLEAN, [(case, GOOD | seen.get(case.number, {})) for case in cases]

    monkeypatch.setattr(faults, "build_faulty", lambda *, fast: None)
    monkeypatch.setattr(faults, "run_cases", run_cases)
    monkeypatch.setattr(faults, "check_reset", lambda *, parity: [])
    monkeypatch.setattr(faults, "area_lines", lambda: [("LUT4", "1, 2 (+100.0 %)")])
    monkeypatch.setattr(faults, "save", saved.append)
    return seen, saved


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--count", "0"], "count must be an integer from 1, not '0'"),
        (["--count", "many"], "count must be an integer from 1, not 'many'"),
        (["--seed", "-1"], "seed must be an integer from 0, not '-1'"),
        (["--case", "x"], "case must be an integer from 0, not 'x'"),
    ],
)
def test_bad_input_is_one_line(campaign, capsys, arguments, message):
    assert faults.main(arguments) == 2
    assert capsys.readouterr().err == f"faults: {message}\n"


def test_full_campaign_is_recorded(campaign, capsys):
    seen, saved = campaign
    seen[0] = {"error": "memory_parity", "tokens": []}
    assert faults.main([]) == 0
    (record,) = saved
    assert record.section == "faults"
    assert ("faults", "1,600, seed 1") in record.summary
    assert ("LUT4", "1, 2 (+100.0 %)") in record.summary
    row = ["on-chip memory", "core.tile.scores.maxima", "1", "0", "1039", "0", "0"]
    assert record.rows[0] == row
    assert "seed 1, 1600 faults" in capsys.readouterr().out


def test_small_campaign_is_not_recorded(campaign):
    assert faults.main(["--count", "40"]) == 0
    assert not campaign[1]


@pytest.mark.parametrize("change", [{"tokens": [4, 6]}, {"hang": True}])
@pytest.mark.parametrize("kind", faults.PROTECTED)
def test_silent_or_hanging_fault_where_there_is_protection_fails(campaign, capsys, change, kind):
    seen, saved = campaign
    number = KINDS.index(kind)
    seen[number] = change
    assert faults.main([]) == 1
    outcome = "hang" if "hang" in change else "silent"
    line = f"faults: case {number}: core.tile_0.scores.maxima, cycle {number}: {outcome}\n"
    assert capsys.readouterr().err == line
    assert not saved


@pytest.mark.parametrize("kind", ["stream", "dram", "counters"])
def test_silent_fault_without_protection_is_counted_and_no_failure(campaign, kind):
    seen, saved = campaign
    seen[KINDS.index(kind)] = {"tokens": [4, 6]}
    assert faults.main([]) == 0
    assert sum(int(row[5]) for row in saved[0].rows) == 1


def test_chip_that_differs_from_random_registers_fails(campaign, capsys, monkeypatch):
    monkeypatch.setattr(faults, "check_reset", lambda *, parity: ["seed 2: other tokens"])
    assert faults.main([]) == 1
    assert capsys.readouterr().err == "faults: seed 2: other tokens\n"
    assert not campaign[1]


def test_one_case_is_told(campaign, capsys):
    campaign[0][3] = {"error": "memory_parity: a word", "tokens": [4]}
    assert faults.main(["--case", "3"]) == 0
    told = capsys.readouterr().out
    assert "case 3: on-chip memory, core.tile_0.scores.maxima" in told
    assert "detected (memory_parity: a word)" in told


def test_no_simulator_is_one_line(campaign, capsys, monkeypatch):
    def build(*, fast):
        raise BuildError("no C++ compiler: install g++ or clang++")

    monkeypatch.setattr(faults, "build_faulty", build)
    assert faults.main([]) == 1
    assert capsys.readouterr().err == "faults: no C++ compiler: install g++ or clang++\n"
