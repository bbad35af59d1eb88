"""Turn Verilog into a simulator with Verilator, and run cocotb benches in it."""

import contextlib
import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from pathlib import Path

from sim.coverage import collect
from sim.verilator import FST, BuildError, find_verilator, writes_fst

__all__ = [
    "BALANCED",
    "BuildError",
    "Result",
    "build",
    "find_verilator",
    "folder_of",
    "run",
    "writes_fst",
]

#: Where simulators keep the Python that they have compiled.
BYTECODE = Path(__file__).resolve().parents[1] / "build" / "pycache"

#: For ``fast``: against ``False`` the simulation is five times as fast, and the build takes the
#: compiler four times as long (``True``: ten). It pays where a chip is simulated for half a minute.
BALANCED = "balanced"

CCACHE = Path(__file__).resolve().parents[1] / "build" / "ccache"

#: Signals wider than Verilator's default, 256 bits, count too; memories hardly ever do.
COVERAGE = ("--coverage-line", "--coverage-toggle", "--coverage-max-width", "1024")

WARNINGS = ["-Wno-fatal", "-Wno-lint", "-Wno-style", "-Wno-MULTIDRIVEN", "-Wno-TIMESCALEMOD"]


def folder_of(fast):
    """Return the name of the folder in which what is built so lies beside what is not."""
    return {True: "fast", BALANCED: BALANCED, False: "quick"}[fast]


def find_ccache():
    """Return the compiler cache of the virtual environment or the system, or None."""
    beside = Path(sys.executable).parent / "ccache"
    return str(beside) if beside.exists() else shutil.which("ccache")


def _run_logged(command, log, *, cwd, env):
    with log.open("a") as out:
        out.write(f"$ {' '.join(map(str, command))}\n")
        out.flush()
        done = subprocess.run(
            command, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=out
        )
    if done.returncode:
        lines = log.read_text(errors="replace").splitlines()
        errors = [line for line in lines if re.search(r"%Error|error:|\*\*\*", line)] or lines[-8:]
        raise BuildError(f"{Path(command[0]).name} failed, see {log}:\n" + "\n".join(errors[:8]))


def build(
    sources,
    top,
    build_dir,
    *,
    fast=True,
    trace=False,
    public=("*",),
    readable=(),
    parameters=None,
    defines=None,
    verilator_args=(),
    cocotb=True,
    jobs=2,
):
    """Build a simulator that cocotb can drive, and return the path of its executable.

    Nothing is done when the same sources were already built there with the same options. When
    coverage is collected (`sim.coverage.collect.folder`), the simulator counts lines and toggles,
    and lies in a folder beside ``build_dir``.

    Parameters
    ----------
    sources : list of Path
        Verilog, SystemVerilog and C++ files.
    top : str
        Name of the top module.
    build_dir : Path
        Folder for everything that is made. May not contain spaces.
    fast : bool or BALANCED
        Whether to optimise for the speed of the simulation or for that of the build.
    trace : bool or str
        Whether the simulator can write a waveform: a VCD, or with ``"fst"`` an FST where
        `writes_fst` says so.
    public, readable : iterable of str
        Names in the top module that cocotb may write and read, or only read; ``*`` for all.
    parameters, defines : dict
        Verilog parameters of the top module, and macros.
    verilator_args : iterable of str
        More arguments.
    cocotb : bool
        Whether cocotb can drive it; otherwise it runs by itself, to ``$finish``.
    jobs : int
        Compilers at a time.

    Raises
    ------
    BuildError
        With the first error lines and the path of the log.
    """
    simulator = find_verilator()
    fst = trace == "fst"
    if fst and not writes_fst(simulator):
        raise BuildError("this Verilator needs libraries to write FST: use VCD")
    sources = [Path(source).resolve() for source in sources]
    build_dir = Path(build_dir).resolve()
    covered = collect.folder() is not None
    if covered:
        build_dir = build_dir.with_name(f"{build_dir.name}-coverage")
    executable = build_dir / "simulator"
    build_dir.mkdir(parents=True, exist_ok=True)

    control = build_dir / "public.vlt"
    rules = "".join(
        f'{rule} -module "{top}" -var "{name}"\n'
        for rule, names in (("public_flat_rw", public), ("public_flat_rd", readable))
        for name in names
    )

    import cocotb_tools.config  # heavy, and golden-only users have no need of it

    libs = cocotb_tools.config.libs_dir
    main = cocotb_tools.config.share_dir / "lib" / "verilator" / "verilator.cpp"
    command = [
        simulator.executable,
        "-cc",
        "--exe",
        *("-Mdir", str(build_dir)),
        *("--top-module", top),
        *("--prefix", "Vtop"),
        *("-o", executable.name),
        "--vpi",
        "--no-public-flat-rw",
        "--timing",
        *("--timescale", "1ns/1ps"),
        *WARNINGS,
        *(("-LDFLAGS", f"-Wl,-rpath,{libs} -L{libs} -lcocotbvpi_verilator") if cocotb else ()),
        *("--x-assign", "fast", "--x-initial", "fast", "--no-assert"),
        *(("-O3", "--output-split", "20000") if fast is True else ("--output-split", "0")),
        *((f"--trace-{'fst' if fst else 'vcd'}", "--trace-structs") if trace else ()),
        *(("-CFLAGS", f"-I{FST}") if fst else ()),
        *(f"-G{name}={value}" for name, value in (parameters or {}).items()),
        *(f"-D{name}={value}" for name, value in (defines or {}).items()),
        *(COVERAGE if covered else ()),
        *verilator_args,
        str(control),
        *([str(main)] if cocotb else ["--main"]),
        *map(str, sources),
    ]
    optimise = {
        True: ("OPT_FAST=-O3", "OPT_SLOW=-O1", "OPT_GLOBAL=-O2"),
        BALANCED: ("OPT_FAST=-O1", "OPT_SLOW=-O0", "OPT_GLOBAL=-O1"),
        False: ("OPT_FAST=-O0", "OPT_SLOW=-O0", "OPT_GLOBAL=-O1"),
    }[fast]
    make = [
        *("make", "-j", str(jobs), "-C", str(build_dir), "-f", "Vtop.mk"),
        *simulator.make_flags,
        *optimise,
    ]
    if fst:
        make.append("LDLIBS=$(filter-out -llz4 -lz,$(VM_USER_LDLIBS)) $(CFG_LDLIBS_THREADS)")
    ccache = find_ccache()
    if ccache:
        make.append(f"OBJCACHE={ccache}")

    digest = hashlib.sha256(repr((command, make)).encode())
    folders = sorted({source.parent for source in sources if source.suffix == ".cpp"})
    folders += [FST] if fst else []
    headers = [header for folder in folders for header in sorted(folder.glob("*.h"))]
    for source in (main, *sources, *headers):
        digest.update(source.read_bytes())
    digest.update(rules.encode())
    stamp = build_dir / "built"
    with _only_one(build_dir / "lock"):
        if executable.exists() and stamp.exists() and stamp.read_text() == digest.hexdigest():
            return executable
        stamp.unlink(missing_ok=True)
        control.write_text(f"`verilator_config\n{rules}")
        env = simulator.env
        env.setdefault("CCACHE_DIR", str(CCACHE))
        env.pop("MAKEFLAGS", None)  # those of the `make` that we were started by
        env.pop("MAKELEVEL", None)
        log = build_dir / "build.log"
        log.write_text("")
        _run_logged(command, log, cwd=build_dir, env=env)
        _run_logged(make, log, cwd=build_dir, env=env)
        stamp.write_text(digest.hexdigest())
    return executable


@contextlib.contextmanager
def _only_one(path):
    """Let one process at a time in; where files cannot be locked, everyone."""
    with path.open("w") as file:
        try:
            import fcntl
        except ImportError:
            pass
        else:
            fcntl.flock(file, fcntl.LOCK_EX)  # until it is closed
        yield


@dataclass(frozen=True)
class Result:
    """What a run of a bench gave.

    Members
    -------
    passed, failed : list of str
        Names of the tests. A run that died before its first test has both empty.
    messages : dict
        Name of a failed test to its error.
    returncode : int
        Of the simulator.
    log : Path
        Everything that was printed.
    seconds : float
        Wall time.
    """

    passed: list[str]
    failed: list[str]
    messages: dict[str, str]
    returncode: int
    log: Path
    seconds: float

    @property
    def ok(self):
        """Whether at least one test ran, and none failed."""
        return bool(self.passed) and not self.failed and self.returncode == 0


def run(
    executable,
    bench,
    *,
    top,
    run_dir=None,
    plusargs=(),
    env=None,
    seed=1,
    tests=None,
    waveform=None,
    echo=False,
    timeout=None,
):
    """Run the cocotb tests of a module, or some of them, in a simulator from `build`.

    When coverage is collected, what the run met is kept, if it passed.

    Parameters
    ----------
    executable : Path
        What `build` returned.
    bench : str
        Name of the module, importable from the current folder.
    top : str
        Name of the top module.
    run_dir : Path
        Folder for the log and results, by default that of the executable.
    plusargs : iterable of str
        Arguments of the form ``+name=value``.
    env : dict
        More environment variables.
    seed : int
        Of cocotb's random generator.
    tests : str
        Regular expression of test names.
    waveform : Path
        Where to write a waveform; needs ``trace=True`` in `build`.
    echo : bool
        Whether the bench prints to this terminal instead of the log.
    timeout : float
        Seconds after which the simulator is stopped; ten times as many where it counts coverage.
    """
    import cocotb_tools.config  # heavy, and golden-only users have no need of it
    import find_libpython

    executable = Path(executable).resolve()
    run_dir = Path(run_dir or executable.parent).resolve()
    run_dir.mkdir(parents=True, exist_ok=True)
    results = run_dir / "results.xml"
    results.unlink(missing_ok=True)
    log = run_dir / "run.log"
    libpython = find_libpython.find_libpython()
    if libpython is None:
        raise BuildError("this Python has no shared library: install one that has (libpython3)")
    full_env = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([os.getcwd(), *filter(None, sys.path)]),
        "PYGPI_PYTHON_BIN": sys.executable,
        "GPI_USERS": ";".join([libpython, str(cocotb_tools.config.pygpi_entry_point())]),
        "COCOTB_TOPLEVEL": top,
        "COCOTB_TEST_MODULES": bench,
        "COCOTB_RESULTS_FILE": str(results),
        "COCOTB_RANDOM_SEED": str(seed),
        "COCOTB_TRUST_INERTIAL_WRITES": "1",
        "COCOTB_ANSI_OUTPUT": "0",
        "TOPLEVEL_LANG": "verilog",
        "PYTHONWARNINGS": "default",
        # A bench starts in a third of the time: what it imports, with its assertions rewritten, is
        # compiled once, whatever is usual here; and it needs none of pytest's plugins.
        "PYTHONDONTWRITEBYTECODE": "",
        "PYTHONPYCACHEPREFIX": os.environ.get("PYTHONPYCACHEPREFIX") or str(BYTECODE),
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        **(env or {}),
    }
    for name in ("COCOTB_TEST_FILTER", "COCOTB_TESTCASE"):
        full_env.pop(name, None)
    if tests:
        full_env["COCOTB_TEST_FILTER"] = tests
    command = [str(executable), *plusargs]
    if waveform:
        command += ["--trace", "--trace-file", str(Path(waveform).resolve())]
    counted = run_dir / collect.FILE
    if collect.folder() is not None:
        timeout = timeout and 10 * timeout
        counted.unlink(missing_ok=True)
        command.append(f"+verilator+coverage+file+{counted}")
    start = time.monotonic()
    with log.open("w") as out:
        target = None if echo else out
        process = subprocess.Popen(
            command,
            cwd=run_dir,
            env=full_env,
            stdin=subprocess.DEVNULL,
            stdout=target,
            stderr=None if echo else subprocess.STDOUT,
        )
        try:
            returncode = process.wait(timeout)
        except BaseException:
            process.kill()
            process.wait()
            raise
    passed, failed, messages = _read_results(results)
    result = Result(passed, failed, messages, returncode, log, time.monotonic() - start)
    if collect.folder() is not None and result.ok and counted.exists():
        collect.keep(counted, bench, collect.folder() / "runs")
    return result


def _read_results(path):
    passed, failed, messages = [], [], {}
    if not path.exists():
        return passed, failed, messages
    for case in ElementTree.parse(path).iter("testcase"):
        name = case.get("name")
        if case.find("skipped") is not None:
            continue
        problem = case.find("failure")
        if problem is None:
            problem = case.find("error")
        if problem is None:
            passed.append(name)
        else:
            failed.append(name)
            messages[name] = problem.get("message") or problem.text or ""
    return passed, failed, messages
