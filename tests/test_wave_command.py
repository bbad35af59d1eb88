"""Tests of the command `scripts.wave`, and the fast scenarios themselves."""

import ast
import re
import subprocess
from pathlib import Path

import pytest

from hw.spec.csr import ERRORS
from scripts import wave
from scripts.waves import accept, execute, reference, simulate, view
from scripts.waves.chip import TRAPS
from scripts.waves.sample import WaveformError, signals
from scripts.waves.units import LEFT_OUT, UNITS, WITHIN
from tests.support.modules import modules
from tests.support.wave_demo import CHANNELS, ONLY, SIGNALS, WIDTHS
from tests.support.waveform import write_vcd

FAST = [scenario.name for scenario in wave.SCENARIOS.values() if scenario.fast]
UNITS_ALONE = [scenario.name for scenario in UNITS if scenario.fast]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Keep references and results of a test to itself."""
    monkeypatch.setattr(reference, "FOLDER", tmp_path / "references")
    monkeypatch.setattr(execute, "BUILD", tmp_path / "build")
    return tmp_path


def only_line(capfd):
    """Return the only line on the terminal's error output, also of libraries."""
    out, err = capfd.readouterr()
    assert out == ""
    (line,) = err.splitlines()
    return line


@pytest.mark.parametrize("flag", ["--accept", "--view", "--fast"])
def test_an_unknown_scenario_is_one_line(flag, capfd):
    assert wave.main(["--scenario", "sphere", flag]) == 2
    line = only_line(capfd)
    assert line.startswith("wave: scenario must be one of accumulator, ")
    assert line.endswith(", not 'sphere'")


def test_a_bad_reference_is_one_line_before_anything_runs(folder, monkeypatch, capfd):
    monkeypatch.setitem(wave.SCENARIOS, "demo", ONLY)
    reference.FOLDER.mkdir()
    monkeypatch.setattr(reference, "ROOT", folder)
    reference.path_of("demo").write_text("version 7\n")
    assert wave.main(["--scenario", "demo"]) == 2
    assert only_line(capfd).startswith("wave: references/demo.txt: a reference of version 7")


def damaged(tmp_path):
    good = write_vcd(tmp_path / "good.vcd", SIGNALS, WIDTHS).read_bytes()
    fst = bytes([0]) + (329).to_bytes(8, "big") + b"\0" * 320
    return {"short.vcd": good[:60], "text.vcd": b"hello", "short.fst": fst, "empty.fst": b""}


@pytest.mark.parametrize("name", ["short.vcd", "text.vcd", "short.fst", "empty.fst"])
def test_a_damaged_waveform_is_one_line(name, tmp_path, capfd):
    path = tmp_path / name
    path.write_bytes(damaged(tmp_path)[name])
    with pytest.raises(WaveformError, match=f"{re.escape(name)}: not a waveform, or damaged"):
        signals(path)
    assert capfd.readouterr() == ("", "")
    with pytest.raises(WaveformError, match="there is no such waveform"):
        signals(tmp_path / "none.fst")


def fake_run(monkeypatch, folder, problems=(), **changes):
    """Let scenarios that run nothing find the signals of this module, changed."""
    path = write_vcd(folder / "run.vcd", SIGNALS | changes, WIDTHS)
    monkeypatch.setattr(execute, "run_unit", lambda *_, **__: (path, CHANNELS, list(problems)))
    monkeypatch.setattr(execute, "suffix", lambda: "vcd")
    monkeypatch.setattr(wave, "SCENARIOS", {"demo": ONLY})


def test_accepting_writes_what_is_compared_and_says_what_changed(folder, monkeypatch, capsys):
    fake_run(monkeypatch, folder)
    assert wave.main(["--scenario", "demo"]) == 1
    assert "demo: has no reference; take one" in capsys.readouterr().err
    assert wave.main(["--accept"]) == 0
    assert "references accepted (1 new)\n\nNew: demo\n" in capsys.readouterr().out
    assert wave.main(["--scenario", "demo"]) == 0

    fake_run(monkeypatch, folder, o__payload=[0, 0, 5, 6, 3, 9, 9, 0, 0])
    assert wave.main(["--scenario", "demo"]) == 1
    found = capsys.readouterr().err
    assert "wave: demo: cycle 2, o.payload: reference 5, now 6 (offer 1) - " in found
    assert "difference.svg" in found
    assert (execute.BUILD / "demo" / "difference.svg").exists()
    assert wave.main(["--accept"]) == 0
    assert "(1 values)\n\ndemo: cycle 2, o.payload" in capsys.readouterr().out
    assert wave.main(["--scenario", "demo"]) == 0
    assert not (execute.BUILD / "demo" / "difference.svg").exists()


def test_what_failed_is_not_accepted(folder, monkeypatch, capsys):
    fake_run(monkeypatch, folder, problems=["order_is_kept: transfer 3 differs"])
    assert wave.main(["--accept"]) == 1
    assert "not accepted: demo: order_is_kept: transfer 3 differs" in capsys.readouterr().err
    assert not reference.path_of("demo").exists()


def test_a_window_that_does_not_begin_is_a_finding(folder, monkeypatch, capsys):
    fake_run(monkeypatch, folder, rst=[0] * 9)
    assert wave.main(["--scenario", "demo"]) == 1
    assert "demo: dut.rst does not become 0 1 times" in capsys.readouterr().err


def test_references_of_no_scenario_are_found_and_removed(folder, monkeypatch, capsys):
    fake_run(monkeypatch, folder)
    assert wave.main(["--accept"]) == 0
    stale = reference.path_of("gone")
    stale.write_text("")
    assert accept.stale(["demo"]) == [stale]
    assert wave.main(["--accept"]) == 0
    assert "Removed: gone" in capsys.readouterr().out
    assert not stale.exists()


def test_views_name_the_signals(tmp_path):
    path = write_vcd(tmp_path / "wave.vcd", SIGNALS, WIDTHS)
    (tmp_path / "own").mkdir()  # the waveform may be of several scenarios
    gtkw, sucl = view.write_views(tmp_path / "own", path, ONLY, CHANNELS, signals(path))
    assert gtkw.parent == tmp_path / "own"
    lines = gtkw.read_text().splitlines()
    assert f'[dumpfile] "{path}"' in lines
    assert lines[lines.index("dut.o__payload[7:0]") - 1] == "@22"
    assert lines[lines.index("dut.o__valid") - 1] == "@28"
    assert "variable_add dut.o__payload" in sucl.read_text().splitlines()


@pytest.mark.parametrize("name", ["gtkwave", "surfer"])
def test_the_viewer_that_is_there_gets_waveform_and_view(name, folder, monkeypatch):
    fake_run(monkeypatch, folder)
    tools = folder / "bin"
    tools.mkdir()
    told = folder / "told"
    (tools / name).write_text(f'#!/bin/sh\necho "$@" > {told}\n')
    (tools / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:/usr/bin:/bin")
    monkeypatch.setattr(view.shutil, "which", lambda one: str(tools / one) if one == name else None)
    assert wave.main(["--view", "--scenario", "demo"]) == 0
    assert str(folder / "run.vcd") in told.read_text()
    assert ("view.gtkw" if name == "gtkwave" else "view.sucl") in told.read_text()


def test_without_a_viewer_is_one_line(monkeypatch, capfd):
    monkeypatch.setattr(view.shutil, "which", lambda name: None)
    assert wave.main(["--view"]) == 2
    assert only_line(capfd).startswith("wave: neither gtkwave nor surfer is on the PATH")


def test_every_trap_has_a_scenario_in_the_order_of_the_bench():
    # A host cannot cause the one of parity: `make faults` flips bits for it.
    assert set(TRAPS) == set(ERRORS) - {"none", "memory_parity"}
    bench = ast.parse(Path("tests/waves/bench_chip.py").read_text())
    names = [node.name for node in bench.body if isinstance(node, ast.AsyncFunctionDef)]
    assert [name for name in names if name.startswith("trap_")] == [f"trap_{one}" for one in TRAPS]


def test_every_scenario_has_a_reference_that_is_whole():
    names = {path.stem for path in reference.FOLDER.glob("*.txt")}
    assert names == set(wave.SCENARIOS)
    for name in names:
        trace = reference.read(name)
        assert trace.scenario == name
        streams = [one for one in trace.channels.values() if one.valid is not None]
        levels = [
            v for one in trace.channels.values() if one not in streams for _, v in one.rows("")
        ]
        # Units without streams: their ports change.
        assert sum(s.transfers() for s in streams) or sum(len(set(v)) > 1 for v in levels), name


def test_every_module_has_a_scenario_or_a_reason():
    names = {scenario.name for scenario in UNITS}
    assert modules() == (names | set(WITHIN) | set(LEFT_OUT)) - {"weight_path"}
    assert not names & set(WITHIN) | names & set(LEFT_OUT)
    assert set(WITHIN.values()) <= set(wave.SCENARIOS)


def test_a_simulator_that_dies_fails_alone(folder, monkeypatch, capfd):
    fake_run(monkeypatch, folder, problems=["order_is_kept: not over after 300 s"])
    (folder / "run.vcd").write_text("$timescale")
    assert wave.main(["--scenario", "demo"]) == 1
    assert "wave: demo: order_is_kept: not over after 300 s" in capfd.readouterr().err


def test_a_run_without_an_end_is_a_problem_of_its_scenario(folder, monkeypatch):
    def run(*_, timeout, **__):
        raise subprocess.TimeoutExpired("simulator", timeout)

    monkeypatch.setattr(simulate.verilate, "run", run)
    found = simulate.simulate("simulator", "bench", tests="a", timeout=9, run_dir=folder)
    assert found == [f"not over after 9 s, see {folder / 'run.log'}"]


@pytest.mark.parametrize("name", UNITS_ALONE)
def test_unit_does_what_its_reference_says(name, capsys):
    status = wave.main(["--scenario", name])
    assert status == 0, capsys.readouterr().err


def test_chip_does_what_its_references_say(capsys):
    names = [argument for n in FAST if n not in UNITS_ALONE for argument in ("--scenario", n)]
    assert wave.main(names) == 0, capsys.readouterr().err
