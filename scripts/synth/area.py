"""How large the chip is: each module by itself, and the whole."""

import hashlib
import json
import re
import shutil
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from .design import BUILD, TOP, alone, memories, without_sources, write_whole
from .finding import Finding
from .yosys import run_yosys, version

__all__ = [
    "DEVICE",
    "FIGURES",
    "begin_modules",
    "begin_whole",
    "figures",
    "mapped",
    "misplaced",
    "subtrees",
    "synthesise",
    "workers",
]

#: What a table shows of a unit, as (name, heading).
FIGURES = {
    "lut": "LUT4",
    "ff": "FF",
    "dsp": "MULT18X18D",
    "bram": "DP16KD",
    "gates": "gates",
    "gate_ff": "gate FF",
    "memory_bits": "memory bits",
}

#: What an LFE5U-85F has.
DEVICE = {"lut": 83_640, "ff": 83_640, "dsp": 156, "bram": 208}

#: LUT4 that a cell takes. Two slices of a distributed RAM hold its bits, a third is its write port.
LUTS = {"LUT4": 1, "CCU2C": 2, "TRELLIS_DPR16X4": 6}

#: Bits above which a memory must not become this: a small one is cheaper in LUTs.
LIMITS = {"LUT RAM": 4096, "FF": 256}

#: Jobs side by side: a large module takes half a gigabyte.
JOBS = 2

# ABC9 fails on names that are equal but for their first character, as Amaranth's can be: hide them.
ECP5 = (
    "rename -hide",
    "synth_ecp5 -top {top} -noflatten -run begin:check",
    "tee -q -o stat.json stat -json",
)
# Without ABC, which takes a hundred times as long over a multiplier and finds no fewer gates in it.
GATES = (
    "synth -top {top} -run begin:fine",
    "opt -fast -full",
    "techmap",
    "simplemap",
    "opt_expr -full",
    "opt_merge",
    "opt_clean",
    "tee -q -o stat.json stat -json",
)

MAPPINGS = {"ecp5": ECP5, "gates": GATES}

_MAPPED = re.compile(
    r"^(?:mapping memory|using FF mapping for memory) (\S+?)(?: via (\S+))?$", re.M
)
_KINDS = {"$__DP16KD_": "block RAM", "$__PDPW16KD_": "block RAM", "$__TRELLIS_DPR16X4_": "LUT RAM"}


def _cells(path, top):
    """Return the counts of cells of a module and all it holds, of a file of ``stat -json``."""
    text = path.read_text()
    modules = json.loads(text[text.index("{") : text.rindex("}") + 1])["modules"]

    def total(name):
        # What Yosys tells of the design counts modules as cells.
        counts = Counter()
        for kind, count in modules[f"\\{name}"].get("num_cells_by_type", {}).items():
            inside = total(kind) if f"\\{kind}" in modules else {kind: 1}
            counts.update({cell: count * number for cell, number in inside.items()})
        return counts

    return {kind: count for kind, count in total(top).items() if not kind.startswith("box")}


def _became(log):
    """Return memory name to what it became, in the order of the log."""
    return {
        name.rsplit(".", 1)[-1]: _KINDS[kind] if kind else "FF"
        for name, kind in _MAPPED.findall(log)
    }


def mapped(label, text, top, folder, *, flat=False):
    """Run one of `MAPPINGS` on RTLIL, or find what it gave; return cells and memories.

    Parameters
    ----------
    label : str
        A key of `MAPPINGS`.
    text : str
        RTLIL.
    top : str
        Its top module. All it holds is counted.
    folder : Path
        Where results are kept.
    flat : bool
        Whether to do away with the hierarchy first.

    Raises
    ------
    ToolError
        From Yosys.
    """
    script = [line.format(top=top) for line in MAPPINGS[label]]
    if flat:
        script.insert(0, "flatten")
    key = hashlib.sha256(repr((version(), script, text)).encode()).hexdigest()[:24]
    kept = folder / f"{key}.json"
    if kept.exists():
        return json.loads(kept.read_text())
    folder.mkdir(parents=True, exist_ok=True)
    # Presets share modules: two jobs may be at the same one.
    work = Path(tempfile.mkdtemp(prefix=f"{key}.", dir=folder))
    (work / "in.il").write_text(text)
    log = run_yosys(["read_rtlil in.il", f"hierarchy -top {top}", *script], work)
    result = {"cells": _cells(work / "stat.json", top), "memories": _became(log)}
    write_whole(kept, json.dumps(result))
    shutil.rmtree(work)
    return result


@contextmanager
def workers():
    """Give a pool of `JOBS` threads; what waits in it is dropped when something went wrong."""
    pool = ThreadPoolExecutor(JOBS)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def _result(ecp5=None, gates=None):
    """Return the result of what `mapped` gave; a mapping that was not done has no cells."""
    return {
        "ecp5": ecp5["cells"] if ecp5 else {},
        "gates": gates["cells"] if gates else {},
        "memories": ecp5["memories"] if ecp5 else {},
    }


def begin_modules(pool, found, ecp5=None, on_step=lambda text: None):
    """Begin to synthesise modules; return a function that waits for what `synthesise` returns.

    Parameters
    ----------
    pool : ThreadPoolExecutor
        Takes one job a module, the longest text first.
    found, ecp5, on_step
        As of `synthesise`.
    """
    ecp5 = found if ecp5 is None else ecp5
    mappings = {"ecp5": ecp5, "gates": found}
    texts = {
        name: tuple(
            (label, alone(modules[name], modules))
            for label, modules in mappings.items()
            if name in modules
        )
        for name in {**found, **ecp5}
    }
    different = sorted(set(texts.values()), key=lambda pairs: -max(len(text) for _, text in pairs))
    done = 0

    def measure(pairs):
        nonlocal done
        folder = BUILD / "modules"
        result = {label: mapped(label, text, "unit", folder) for label, text in pairs}
        done += 1
        on_step(f"{done} of {len(different)} modules")
        return pairs, _result(**result)

    measured = pool.map(measure, different)

    def results():
        known = dict(measured)
        return {name: known[pairs] for name, pairs in texts.items()}

    return results


def synthesise(found, ecp5=None, on_step=lambda text: None):
    """Return name to cells of each module, what it holds not counted.

    Parameters
    ----------
    found : dict
        Of `design.modules`, for the gates.
    ecp5 : dict
        The same with the cells of an ECP5, for its mapping; by default the portable modules. A
        module that only one of them has counts in that one's mapping.
    on_step : callable
        Is told how many modules are done.
    """
    with workers() as pool:
        return begin_modules(pool, found, ecp5, on_step)()


def begin_whole(pool, portable, ecp5, top=TOP):
    """Begin to synthesise a design as one; return a function that waits for its cells.

    Parameters
    ----------
    pool : ThreadPoolExecutor
        Takes two jobs, by far the longest of a target: begin them before its modules.
    portable, ecp5 : str
        Its two RTLIL texts.
    """
    folder = BUILD / "whole"
    jobs = {
        label: pool.submit(mapped, label, without_sources(text), top, folder, flat=True)
        for label, text in (("ecp5", ecp5), ("gates", portable))
    }
    return lambda: _result(**{label: job.result() for label, job in jobs.items()})


def misplaced(found, results):
    """Return a finding for each memory that is too large for what it became."""
    findings = []
    for name, module in found.items():
        for memory in memories(alone(module, found)):
            kind = results[name]["memories"].get(memory.name)
            if memory.bits > LIMITS.get(kind, memory.bits):
                size = f"{memory.depth} x {memory.width}"
                findings.append(Finding("memory", module.unit, f"{memory.name} {size} in {kind}"))
    return findings


def figures(result, bits):
    """Return what `FIGURES` lists, of the result of a synthesis."""
    ecp5, gates = result["ecp5"], result["gates"]
    registers = {kind: n for kind, n in gates.items() if "DFF" in kind}
    return {
        "lut": sum(count * ecp5.get(kind, 0) for kind, count in LUTS.items()),
        "ff": ecp5.get("TRELLIS_FF", 0),
        "dsp": ecp5.get("MULT18X18D", 0),
        "bram": ecp5.get("DP16KD", 0),
        "gates": sum(n for kind, n in gates.items() if kind.startswith("$_")) - sum(
            registers.values()
        ),
        "gate_ff": sum(registers.values()),
        "memory_bits": bits,
    }  # fmt: skip


def subtrees(found, results):
    """Return unit to figures of each module with all that it holds."""
    totals = {}

    def total(name):
        if name not in totals:
            module = found[name]
            own = figures(results[name], sum(memory.bits for memory in module.memories))
            for child in module.children:
                inner = total(child)
                own = {key: value + inner[key] for key, value in own.items()}
            totals[name] = own
        return totals[name]

    for name in found:
        total(name)
    return {found[name].unit: value for name, value in totals.items()}
