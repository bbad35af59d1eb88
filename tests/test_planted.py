"""Tests of `scripts.planted`: its bugs have their places, and its verdicts are right."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from scripts import planted
from scripts.planted import BUGS, Bug, PatchError, plant, run_layer
from scripts.verify.formal_property import matching
from scripts.wave import SCENARIOS
from scripts.waves.scenario import Unit

DEMO = Bug("demo", "a wrong sign", "sums.py", "a + b", "a - b", (), "", "")
CHECK = "from sums import add; import sys; print('FAILED: add') if add(2, 1) != 3 else 0; "
CHECK += "sys.exit(add(2, 1) != 3)"


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_every_bug_has_its_place_and_its_layers(bug):
    assert Path(bug.file).read_text().count(bug.old) == 1
    assert isinstance(SCENARIOS[bug.scenario].run, Unit)
    assert all(Path(argument.partition("::")[0]).exists() for argument in bug.unit)
    assert Path(bug.chip.partition("::")[0]).exists()
    assert [found.name for found in matching(bug.proof)] == [bug.proof]
    assert list(bug.commands()) == list(planted.LAYERS)


def test_a_bug_is_planted_where_it_says(tmp_path):
    path = tmp_path / "sums.py"
    path.write_text("def add(a, b):\n    return a + b\n")
    plant(DEMO, tmp_path)
    assert path.read_text() == "def add(a, b):\n    return a - b\n"
    with pytest.raises(PatchError, match=r"demo: sums.py has 'a \+ b' 0 times, not once"):
        plant(DEMO, tmp_path)
    with pytest.raises(PatchError, match="0 times"):
        plant(replace(DEMO, file="none.py"), tmp_path)


def test_a_tree_has_the_tracked_files_and_no_others(tmp_path):
    planted.copy_tree(tmp_path)
    assert (tmp_path / "hw/top.py").read_bytes() == Path("hw/top.py").read_bytes()
    assert not (tmp_path / "build").exists()


@pytest.mark.parametrize(
    ("code", "outcome", "line"),
    [
        ("print('fine')", "not caught", ""),
        ("import sys; print('x'); print('wave: it differs'); sys.exit(1)", "caught", "wave: it"),
        ("import sys; print('E   ValueError: no'); sys.exit(1)", "caught", "ValueError: no"),
        ("import sys; print('no such test'); sys.exit(4)", "not run", "no such test"),
    ],
)
def test_a_layer_is_judged_by_its_status(code, outcome, line, tmp_path):
    (tmp_path / "layer.py").write_text(code)
    result = run_layer([sys.executable, "-m", "layer"], tmp_path)
    assert result.outcome == outcome
    assert result.line.startswith(line)
    assert bool(result.line) == bool(line)


def test_a_command_that_is_not_there_is_not_run(tmp_path):
    result = run_layer([sys.executable, "-m", "scripts.none"], tmp_path)
    assert (result.outcome, result.line) == ("not run", "there is no scripts/none.py")


def fake(monkeypatch, **commands):
    """Let a bug of one file be looked for by commands of a line of Python each."""

    def copy_tree(target):
        Path(target).mkdir(parents=True)
        (Path(target) / "sums.py").write_text("def add(a, b):\n    return a + b\n")

    class Demo(Bug):
        def commands(self):
            found = {}
            for layer, code in commands.items():
                found[layer] = [sys.executable, "-c", code, "-m", "demo"]
            return found

    monkeypatch.setattr(planted, "copy_tree", copy_tree)
    monkeypatch.setattr(planted, "BUGS", (Demo(**vars(DEMO)),))
    monkeypatch.setattr(planted, "LAYERS", tuple(commands))


def saved(monkeypatch):
    records = []
    monkeypatch.setattr(planted, "save", lambda r: records.append(r) or planted.ROOT / "record")
    return records


def test_what_fails_only_with_the_bug_has_caught_it(monkeypatch, capsys):
    fake(monkeypatch, unit=CHECK, broken="import sys; sys.exit(1)", blind="0")
    (records,) = [saved(monkeypatch)]
    assert planted.main([]) == 0
    (record,) = records
    assert [row[3] for row in record.rows] == ["caught", "not run", "not caught"]
    assert record.rows[0][4] == "FAILED: add"
    assert record.rows[1][4].startswith("complains without the bug too")
    assert ("Caught by: unit", "1 of 1") in record.summary


def test_a_bug_that_nothing_catches_is_told(monkeypatch, capsys):
    fake(monkeypatch, unit="0")
    saved(monkeypatch)
    assert planted.main([]) == 1
    assert "planted: 1 of 1 bugs are caught by no layer" in capsys.readouterr().err


def test_a_bug_without_its_place_is_one_line(monkeypatch, capsys):
    fake(monkeypatch, unit="0")
    monkeypatch.setattr(planted, "BUGS", (replace(DEMO, old="a * b"),))
    assert planted.main([]) == 2
    assert capsys.readouterr().err == "planted: demo: sums.py has 'a * b' 0 times, not once\n"
