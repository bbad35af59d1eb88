"""Run a cocotb bench on the Verilog that an Amaranth component becomes."""

import hashlib
import json
import os
import re
import shutil
import tempfile
from pathlib import Path

from amaranth.back import verilog

from hw.lib.collision import Spoiled
from sim import verilate
from sim.collector import uncollected
from sim.coverage import collect, emit

__all__ = ["BenchFailed", "ports", "run_bench"]

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build" / "tests"
SEED = 1

# A Yosys on PATH may be too old for Amaranth; the one in the wheel never is.
os.environ.setdefault("AMARANTH_USE_YOSYS", "builtin")


class BenchFailed(AssertionError):
    """Tests of a bench failed."""


def run_bench(
    dut, bench, *, name=None, params=None, timeout=600, sources=(), plusargs=(), tests=None
):
    """Convert a component to Verilog, verilate it, and run every test of a bench.

    After a failure the bench runs again with a waveform, whose path the exception names.

    When coverage is collected (`sim.coverage.collect.folder`), a bench that passed before, on the
    same Verilog and with the same parameters, does not run again.

    Parameters
    ----------
    dut : wiring.Component
        The component, whose ports become those of the top module ``dut``.
    bench : str
        Module with the cocotb tests, such as ``tests.hw.bench_requantise``.
    name : str
        Name of the build folder; by default that of the component's class.
    params : dict
        What the bench gets from ``tests.support.bench.params()``. Must survive JSON.
    timeout : float
        Seconds that the simulation may take.
    sources : list of Path
        What the component's instances are made of, if it has any.
    plusargs : list of str
        Arguments of the simulator.
    tests : str
        Regular expression of the tests to run, by default all.

    Returns
    -------
    str
        What the bench printed; nothing if it did not run again.

    Raises
    ------
    BenchFailed
        Naming the failing tests and their errors.
    """
    __tracebackhide__ = True
    name = name or type(dut).__name__.lower()
    kept = collect.folder()
    if kept is None:
        with uncollected():
            text = verilog.convert(Spoiled(dut), name="dut", strip_internal_attrs=True)
    else:
        text = emit.convert(dut, "dut")
        stamp = kept / "passed" / f"{name}-{_bench_digest(text, bench, params, tests)}"
        if stamp.exists():
            print(f"{bench} on {name}: coverage is there already")
            return ""
    digest = hashlib.sha256(text.encode()).hexdigest()[:12]
    folder = BUILD / f"{name}-{digest}"
    folder.mkdir(parents=True, exist_ok=True)
    source = folder / "dut.v"
    if not source.exists() or source.read_text() != text:
        source.write_text(text)
    inputs, outputs = (ports(text, direction) for direction in ("input", "output"))

    def once(*, trace):
        build_dir = folder / ("trace" if trace else "plain")
        executable = verilate.build(
            [source, *sources],
            "dut",
            build_dir,
            fast=False,
            trace=trace,
            public=inputs,
            readable=outputs,
        )
        run_dir = Path(tempfile.mkdtemp(prefix="run-", dir=folder))
        waveform = run_dir / "dump.vcd" if trace else None
        result = verilate.run(
            executable,
            bench,
            top="dut",
            run_dir=run_dir,
            plusargs=plusargs,
            tests=tests,
            env={
                "SERRANO_PARAMS": json.dumps(params or {}),
                "SERRANO_INPUTS": json.dumps(inputs),
            },
            seed=SEED,
            waveform=waveform,
            timeout=timeout,
        )
        return result, waveform

    os.chdir(ROOT)
    result, _ = once(trace=False)
    print(f"{bench} on {name}: {len(result.passed)} tests, seed {SEED}, {result.seconds:.1f} s")
    if result.ok:
        printed = result.log.read_text(errors="replace")
        if kept is not None:
            stamp.parent.mkdir(parents=True, exist_ok=True)
            stamp.write_text("")
            shutil.rmtree(folder)  # it is large, and will not be asked for again
        return printed
    lines = [f"{bench} on {name}, seed {SEED}, log {result.log}:"]
    lines += [f"  {test}: {result.messages[test]}" for test in result.failed]
    if not result.failed:
        tail = result.log.read_text(errors="replace").splitlines()[-15:]
        lines += ["  no test ran to its end; the log ends with", *(f"    {x}" for x in tail)]
    again, waveform = once(trace=True)
    lines.append(f"  waveform: {waveform}")
    if again.ok:
        lines.append("  (the run that wrote it passed: the failure depends on chance)")
    raise BenchFailed("\n".join(lines))


def _bench_digest(text, bench, params, tests):
    """Return a digest of all that the coverage of a bench depends on, but the golden model."""
    digest = hashlib.sha256(repr((text, bench, params, tests)).encode())
    folder = ROOT.joinpath(*bench.split(".")[:-1])
    helpers = [
        path
        for path in sorted([*folder.glob("*.py"), *Path(__file__).parent.glob("*.py")])
        if not path.name.startswith(("test_", "bench_"))
    ]
    for path in (ROOT.joinpath(*bench.split(".")).with_suffix(".py"), *helpers):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def ports(text, direction):
    """Return the names of the ports of module ``dut`` of a direction: input or output."""
    start = re.search(r"^module dut\b", text, re.M).start()
    end = text.index("endmodule", start)
    # Verilog's keywords are escaped; Verilator knows their signals by the plain name.
    return re.findall(rf"^  {direction} (?:\[[^]]*\] )?\\?(\S+?) ?;", text[start:end], re.M)
