"""The commands: what they refuse, what they write."""

import errno
import json
import os
import pty
import stat

import pytest
import serial

from hw.spec.presets import preset
from scripts import bringup, rehearsal
from scripts.marked import updated
from sim.board.fault import FAULTS, fault
from sim.bringup.programs import token_model
from sim.compiler.compile import compile_model
from tests.bringup.fake_board import FakeBoard, FakeLine

CONFIG = preset("tiny")
RANDOM = ["--preset", "tiny", "--model", "random", "--tokens", "2", "--wait-ms", "2"]


@pytest.fixture
def board(monkeypatch):
    """A fake board behind every port; the ports that were opened are its ``opened``."""
    model = token_model()
    found = FakeBoard(CONFIG, [(model, compile_model(model, CONFIG))])
    found.opened = []

    def channel(port, baud):
        found.opened.append((port, baud))
        return FakeLine(found)

    monkeypatch.setattr(bringup, "SerialChannel", channel)
    return found


def test_climbs_from_a_rung_on_and_writes_json(board, tmp_path, capsys):
    path = tmp_path / "out.json"
    arguments = ["--port", "/dev/x", "--baud", "500000", "--from", "7", "--json", str(path)]
    assert bringup.main([*arguments, *RANDOM]) == 0
    assert board.opened == [("/dev/x", 500_000)]
    written = json.loads(path.read_text())
    assert [(one["number"], one["verdict"]) for one in written] == [
        (7, "PASS"), (8, "PASS"), (9, "PASS"),
    ]  # fmt: skip
    shown = capsys.readouterr().out
    assert "7 one layer ............ PASS" in shown
    assert "model random, 3 + 2 tokens" in shown


def test_a_fault_is_shown_and_its_status_is_1(board, capsys):
    board.ping["version"] = 9
    assert bringup.main(["--port", "/dev/x", *RANDOM]) == 1
    shown = capsys.readouterr().out.splitlines()
    assert shown[0] == "1 link and version ..... FAIL: wrong version of the bitstream"
    assert shown[1] == "    expected  a bridge of version 1"
    assert "has version 9" in shown[2]
    assert shown[3].startswith("    look at   program the board")
    assert shown[4:] == [
        f"{n} {name} ".ljust(24, ".") + " NOT RUN: needs rung 1"
        for n, name in [
            (2, "clocks and reset"), (3, "register walk"), (4, "memory"), (5, "array self-test"),
            (6, "operators"), (7, "one layer"), (8, "tokens"), (9, "speed and counters"),
        ]
    ]  # fmt: skip


def test_only_one_rung_is_climbed(board, capsys):
    assert bringup.main(["--port", "/dev/x", "--only", "3", *RANDOM]) == 0
    assert capsys.readouterr().out.startswith("3 register walk ........ PASS")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "the following arguments are required: --port"),
        (["--port", "x", "--only", "10"], "argument --only: invalid choice: 10"),
        (["--port", "x", "--only", "1", "--from", "2"], "not allowed with argument"),
    ],
)
def test_bad_options_are_refused(arguments, message, capsys):
    with pytest.raises(SystemExit) as stopped:
        bringup.main(arguments)
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--board", "toy"], "board must be one of ulx3s"),
        (["--preset", "huge"], "preset must be one of tiny"),
        (["--patience", "0"], "--patience must be positive, not 0.0"),
        (["--wait-ms", "0"], "--wait-ms must be positive, not 0.0"),
        (["--tokens", "100"], "the number of tokens to write must be at most"),
        (["--model", "no such"], "model must be"),
        (["--json", "/no/such/folder/x"], "--json must be in a folder that is there"),
        (["--program", "no.bit"], "--program"),
    ],
)
def test_bad_values_are_refused(options, message, board, capsys):
    assert bringup.main(["--port", "/dev/x", *RANDOM, *options]) == 2
    assert capsys.readouterr().err.startswith(f"bringup: {message}")
    assert not board.opened


def test_port_that_is_not_there_is_refused(tmp_path, capsys):
    assert bringup.main(["--port", str(tmp_path / "none"), *RANDOM]) == 2
    assert "there is no port" in capsys.readouterr().err


def test_port_in_use_is_refused(capsys):
    controller, port = pty.openpty()
    name = os.ttyname(port)
    try:
        with serial.Serial(name, exclusive=True):
            assert bringup.main(["--port", name, *RANDOM]) == 2
    finally:
        os.close(controller)
        os.close(port)
    assert f"port {name} is in use by another program" in capsys.readouterr().err


def loader(folder, status):
    """Put an openFPGALoader into a folder that writes down its arguments."""
    path = folder / "openFPGALoader"
    path.write_text(f'#!/bin/sh\necho "$@" > {folder}/arguments\nexit {status}\n')
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return folder / "x.bit"


def test_bitstream_is_programmed_first(board, tmp_path, monkeypatch):
    bitstream = loader(tmp_path, 0)
    bitstream.touch()
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    arguments = ["--port", "/dev/x", "--only", "1", "--program", str(bitstream)]
    assert bringup.main([*arguments, *RANDOM]) == 0
    assert (tmp_path / "arguments").read_text().split() == ["--board", "ulx3s", str(bitstream)]


def test_board_without_a_name_of_the_loader_is_programmed_by_cable_and_part(
    board, tmp_path, monkeypatch
):
    bitstream = loader(tmp_path, 0)
    bitstream.touch()
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    arguments = ["--port", "/dev/x", "--only", "1", "--program", str(bitstream)]
    bringup.main([*arguments, *RANDOM, "--board", "ulx4m_ls"])
    words = ["--cable", "ft2232", "--fpga-part", "LFE5UM-85F", str(bitstream)]
    assert (tmp_path / "arguments").read_text().split() == words


def test_programming_that_fails_is_an_error(board, tmp_path, monkeypatch, capsys):
    bitstream = loader(tmp_path, 3)
    bitstream.touch()
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert bringup.main(["--port", "/dev/x", "--program", str(bitstream), *RANDOM]) == 2
    assert "openFPGALoader ended with status 3" in capsys.readouterr().err
    assert not board.opened


def test_every_fault_of_the_rehearsal_is_one_of_the_simulated_board():
    assert {fault(text).name for text in rehearsal.FAULTS} == {*FAULTS}


@pytest.mark.parametrize("name", ["tiny", "ulx3s"])
def test_every_fault_of_the_rehearsal_can_be_seen(name):
    for text in rehearsal.FAULTS:
        fault(text).check(preset(name).port_bytes)


def test_document_is_changed_between_its_markers():
    document = "a\n<!-- x -->\nold\n<!-- end of x -->\nb\n"
    assert updated(document, "x", "new\n") == document.replace("old", "new")
    with pytest.raises(ValueError, match="must have <!-- y -->"):
        updated(document, "y", "new")


def test_refusal_of_the_port_is_that_of_the_system(monkeypatch, capsys):
    def refuses(*arguments, **options):
        raise OSError(errno.EACCES, "no")

    monkeypatch.setattr(serial, "Serial", refuses)
    assert bringup.main(["--port", "/dev/x", *RANDOM]) == 2
    assert "may not be opened by this user" in capsys.readouterr().err
