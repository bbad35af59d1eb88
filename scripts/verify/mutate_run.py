"""Run the bench of a unit on each of its mutants, and remember what came of it."""

import ast
import hashlib
import json
import math
import resource
from dataclasses import dataclass
from pathlib import Path

from amaranth.back import rtlil

from scripts.synth.design import ROOT, write_whole
from scripts.synth.yosys import ToolError, version
from sim import verilate
from tests.support.runner import SEED

from . import mutate_netlist
from .mutate_equivalence import proved
from .mutate_netlist import SELECT, TOP, Mutation, apply_all, ports, sample
from .mutate_server import RESULTS
from .mutate_units import inner

__all__ = ["BUILD", "Outcome", "run_unit"]

BUILD = ROOT / "build" / "mutate"

#: A mutant may take so many times the time of the unit itself, and so many seconds on top.
SLOWER, GRACE_S = 4, 10


@dataclass(frozen=True)
class Outcome:
    """What came of a mutant.

    Members
    -------
    mutation : Mutation
        The mutant.
    killer : str
        The test that failed, or None.
    proof : bool
        Whether it survived, and a solver finds no state in which it differs.
    """

    mutation: Mutation
    killer: str | None
    proof: bool = False


def run_unit(name, job, *, count, seed, say=print):
    """Return the `Outcome` of each mutant of a sample, and the CPU seconds that all took.

    What is already known, of the same netlist and the same bench, is not run again.

    Raises
    ------
    ToolError, BuildError
        A tool is missing or failed, or the unit fails its own tests.
    """
    text = rtlil.convert(job.dut, name=TOP).replace(f"{ROOT}/", "")
    digest = hashlib.sha256(f"{version()} {seed} {SEED} {job.params}".encode() + text.encode())
    digest.update(Path(mutate_netlist.__file__).read_bytes())  # how the sample is drawn
    outside = inner(name, job.dut)
    digest.update("".join(sorted(outside)).encode())
    for path in bench_files(job.bench):
        digest.update(path.read_bytes())
    folder = BUILD / f"{name}-{count}-{digest.hexdigest()[:12]}"
    folder.mkdir(parents=True, exist_ok=True)
    before = _cpu_seconds()
    mutations = sample(text, folder, count=count, seed=seed, outside=outside)
    done = _results(folder)
    missing = [m.number for m in mutations if m.number not in done]
    if missing:
        executable = _build(folder, mutations)
        say(f"{name}: {len(missing)} mutants to run, built in {_cpu_seconds() - before:.0f} CPU s")
        if 0 not in done:
            _serve(folder, executable, job, [0], None)
            done = _results(folder)
        if 0 not in done or done[0]["killer"] is not None:
            (folder / RESULTS).unlink(missing_ok=True)
            what = done[0]["killer"] if 0 in done else "the simulator stopped"
            raise ToolError(f"{name} fails its own tests ({what}), see {folder / 'run.log'}")
        limit = math.ceil(SLOWER * done[0]["seconds"] + GRACE_S)
        say(f"{name}: {done[0]['seconds']:.1f} CPU s without a mutant")
        _serve(folder, executable, job, missing, limit)
        done = _results(folder)
    seconds = _seconds(folder, _cpu_seconds() - before if missing else None)
    outcomes = []
    for mutation in mutations:
        killer = done[mutation.number]["killer"]
        proof = killer is None and proved(mutation, folder)
        outcomes.append(Outcome(mutation, killer, proof))
    return outcomes, seconds


def _build(folder, mutations):
    source = apply_all(mutations, folder)
    inputs, outputs = ports(folder)
    return verilate.build(
        [source], TOP, folder / "simulator", fast=False, public=[*inputs, SELECT], readable=outputs
    )


def _serve(folder, executable, job, numbers, limit):
    inputs, _ = ports(folder)
    verilate.run(
        executable,
        f"scripts.verify.mutate_server,{job.bench}",
        top=TOP,
        run_dir=folder,
        env={
            "SERRANO_PARAMS": json.dumps(job.params),
            "SERRANO_INPUTS": json.dumps(inputs),
            "SERRANO_MUTANTS": json.dumps({"numbers": numbers, "limit_s": limit}),
            "COCOTB_MAX_FAILURES": "1",
        },
        seed=SEED,
    )


def _results(folder):
    """Return what is known: number of a mutant to its line. What a cut left of a line goes."""
    path = folder / RESULTS
    lines = path.read_text().splitlines() if path.exists() else []
    found = {}
    for line in lines:
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        found[entry["number"]] = entry
    if len(found) != len(lines):
        write_whole(path, "".join(f"{json.dumps(entry)}\n" for entry in found.values()))
    return found


def _seconds(folder, spent):
    """Return the CPU seconds of all calls together, after adding those of this one."""
    path = folder / "seconds.json"
    total = json.loads(path.read_text()) if path.exists() else 0
    if spent is not None:
        total = round(total + spent, 1)
        write_whole(path, json.dumps(total))
    return total


def _cpu_seconds():
    own, others = (
        resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    return own.ru_utime + own.ru_stime + others.ru_utime + others.ru_stime


def bench_files(bench):
    """Return the files of a bench: itself, and all of ``tests`` and ``sim`` that it imports."""
    found, todo = set(), [bench]
    while todo:
        name = todo.pop()
        path = ROOT / Path(*name.split("."))
        path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        if path in found or not path.exists():
            continue
        found.add(path)
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
            elif isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            else:
                continue
            todo += [name for name in names if name.split(".")[0] in ("tests", "sim")]
    return sorted(found)
