"""From a board to its bitstream, with Yosys and nextpnr alone."""

import importlib.util
import json
import os
import re
import subprocess
import sys

from hw.board.boards import Board
from scripts import global_nets
from scripts.pnr_flow import AMBITION, PLACER
from scripts.pnr_report import overfull
from scripts.synth.area import LUTS
from scripts.synth.design import ROOT, for_ecp5, write_whole
from scripts.synth.yosys import ToolError, run_yosys

__all__ = ["ASKED_HZ", "BUILD", "TOP", "asked_hz", "bitstream", "faster", "plan", "synthesise"]

BUILD = ROOT / "build" / "fpga"
TOP = "board"  #: name of the design and its files

ASKED_HZ = 105e6  #: least clock that is asked for, however slow the board's own is

# Amaranth looks for a Yosys, though it is not asked for Verilog here.
os.environ.setdefault("AMARANTH_USE_YOSYS", "builtin")


def plan(target):
    """Return RTLIL and constraints of a board's FPGA, and nextpnr's options for its device.

    Raises
    ------
    ToolError
        The definitions of boards are missing.
    TypeError, ValueError
        From `FpgaTop`.
    """
    if importlib.util.find_spec("amaranth_boards") is None:
        raise ToolError("the boards' pins are missing: `pip install amaranth-boards`")
    from hw.board.platforms.fpga_top import FpgaTop
    from hw.board.platforms.platforms import PLATFORMS

    platform = PLATFORMS[target.name]()
    files = platform.prepare(FpgaTop(target), TOP).files
    kind, size = re.fullmatch(r"LFE5(U|UM)-(\d+)F", platform.device).groups()
    device = (
        f"--{'um-' if kind == 'UM' else ''}{size}k",
        *("--package", platform.package.replace("BG", "CABGA"), "--speed", platform.speed),
    )
    texts = [
        text if isinstance(text, str) else text.decode()
        for text in (files[f"{TOP}.il"], files[f"{TOP}.lpf"])
    ]
    return *texts, device


def asked_hz(target):
    """Return the clock that placer and router are asked for: a board's own may be slow."""
    return max(target.clock_hz * AMBITION, ASKED_HZ)


def faster(constraints, target):
    """Return constraints with every clock as much faster as `asked_hz` is than the board's.

    Placer and router stop trying once they have what they were asked for.
    """
    factor = asked_hz(target) / target.clock_hz
    return re.sub(
        r"(?m)^(FREQUENCY .* )([\d.]+)( HZ;)$",
        lambda found: f"{found[1]}{float(found[2]) * factor:.1f}{found[3]}",
        constraints,
    )


def synthesise(target, folder):
    """Write ``board.json`` and what nextpnr needs beside it; return the cells.

    Parameters
    ----------
    target : Board
        What to build.
    folder : Path
        For everything that the tools write.

    Returns
    -------
    cells : dict
        Cells by kind, and ``lut``: the LUT4 that they occupy.

    Raises
    ------
    ToolError
        A tool is missing or failed.
    """
    design, constraints, device = plan(target)
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / f"{TOP}.il", for_ecp5(design))
    write_whole(folder / f"{TOP}.lpf", faster(constraints, target))
    write_whole(folder / "device.json", json.dumps(device))
    # Single bits are named before ABC9, which otherwise makes one name twice (Yosys issue 4349).
    run_yosys(
        [
            f"read_rtlil {TOP}.il",
            f"synth_ecp5 -top {TOP} -run begin:map_luts",
            "splitnets",
            f"synth_ecp5 -top {TOP} -run map_luts:json",
            "tee -q -o stat.json stat -json",
            f"write_json {TOP}.json",
        ],
        folder,
    )
    global_nets.rewrite(folder / f"{TOP}.json")
    cells = json.loads((folder / "stat.json").read_text())["design"]["num_cells_by_type"]
    return cells | {"lut": sum(count * cells.get(kind, 0) for kind, count in LUTS.items())}


def _run(program, words, folder, log):
    """Run a program of nextpnr's package in a folder, with its output in a log."""
    package = PLACER.replace("-", "_")
    if importlib.util.find_spec(package) is None:
        raise ToolError(f"nextpnr is missing: `pip install {PLACER}` (or `make pnr`)")
    call = f"import sys, {package}; sys.exit({package}.run_{program}(sys.argv[1:]))"
    with (folder / log).open("w") as out:
        done = subprocess.run(
            [sys.executable, "-c", call, *words], cwd=folder, stdout=out, stderr=out
        )
    text = (folder / log).read_text(errors="replace")
    if too_much := overfull(text):
        raise ToolError(f"does not fit: {too_much} (see {folder / log})")
    if done.returncode:
        lines = text.splitlines() or [f"{program} died without a word"]
        error = next((line for line in lines if re.match("(?i)error", line)), lines[-1])
        raise ToolError(f"{error} (see {folder / log})")


def bitstream(target: Board, folder, *, seed):
    """Place, route and pack ``board.json``; return nextpnr's report and the bitstream's path.

    What an earlier run left of these goes first, and the bitstream appears whole or not at all.

    Parameters
    ----------
    target, folder
        As for `synthesise`, which came before.
    seed : int
        Of the placer.

    Raises
    ------
    ToolError
        A tool is missing or failed, or the design does not fit.
    """
    device = json.loads((folder / "device.json").read_text())
    path, packed = folder / f"{TOP}.bit", folder / f"{TOP}.bit.new"
    for old in (path, packed, folder / f"{TOP}.config", folder / "report.json"):
        old.unlink(missing_ok=True)
    _run(
        "nextpnr_ecp5",
        [
            *device,
            *("--json", f"{TOP}.json", "--lpf", f"{TOP}.lpf", "--textcfg", f"{TOP}.config"),
            *("--report", "report.json", "--seed", str(seed), "--timing-allow-fail"),
            # nextpnr's other placer leaves over a quarter more wire in the whole board.
            *("--placer", "static"),
            # Its other router gave 74 MHz where this one gives 91, with the same places.
            *("--freq", f"{asked_hz(target) / 1e6:.1f}", "--router", "router1"),
        ],
        folder,
        "nextpnr.log",
    )
    _run(
        "ecppack",
        ["--compress", "--input", f"{TOP}.config", "--bit", packed.name],
        folder,
        "pack.log",
    )
    packed.rename(path)
    return json.loads((folder / "report.json").read_text()), path
