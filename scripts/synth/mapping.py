"""Map RTLIL to the cells of an ECP5 or to gates, and keep what came out."""

import hashlib
import json
import re
import shutil
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from .design import write_whole
from .yosys import run_yosys, version

__all__ = ["JOBS", "MAPPINGS", "TO_GATES", "mapped", "side_by_side", "workers"]

#: Jobs side by side: a large module takes half a gigabyte.
JOBS = 2

# ABC9 fails on names that are equal but for their first character, as Amaranth's can be: hide them.
ECP5 = (
    "rename -hide",
    "synth_ecp5 -top {top} -noflatten -run begin:check",
)
#: From what ``synth -run begin:fine`` leaves to gates of two inputs, multiplexers and flip-flops.
#: Without ABC, which takes a hundred times as long over a multiplier and finds no fewer gates.
TO_GATES = (
    "opt -fast -full",
    "techmap",
    "simplemap",
    "opt_expr -full",
    "opt_merge",
    "opt_clean",
)
GATES = (
    "rename -hide",  # opt_clean keeps what has a name, and every pass after it takes longer
    "synth -top {top} -run begin:fine",
    *TO_GATES,
)

MAPPINGS = {"ecp5": ECP5, "gates": GATES}

_KINDS = {"$__DP16KD_": "block RAM", "$__PDPW16KD_": "block RAM", "$__TRELLIS_DPR16X4_": "LUT RAM"}
_MAPPED = re.compile(
    r"^(?:mapping memory|using FF mapping for memory) (\S+?)(?: via (\S+))?$", re.M
)


@contextmanager
def workers():
    """Give a pool of `JOBS` threads; what waits in it is dropped when something went wrong."""
    pool = ThreadPoolExecutor(JOBS)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def side_by_side(pool, work, items, on_step):
    """Begin ``work`` on items; return a function that waits for item to result.

    ``on_step`` is told how many modules, which the items are, are done.
    """
    done = 0

    def one(item):
        nonlocal done
        result = work(item)
        done += 1
        on_step(f"{done} of {len(items)} modules")
        return item, result

    finished = pool.map(one, items)
    return lambda: dict(finished)


def _script(labels, top, flat):
    """Return the Yosys commands that map the RTLIL in ``<label>.il``, one after another."""
    lines = []
    for label in labels:
        lines += ["design -reset", f"read_rtlil {label}.il", f"hierarchy -top {top}"]
        lines += ["flatten"] if flat else []
        lines += [line.format(top=top) for line in MAPPINGS[label]]
        lines.append(f"tee -q -o {label}.json stat -json")
    return lines


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


def mapped(texts, top, folder, *, flat=False):
    """Run `MAPPINGS` on RTLIL, or find what they gave.

    They share a run of Yosys, as its start takes longer than most modules. Several modules would
    do so too, but how many cells Yosys finds depends, by a few, on what it did before.

    Parameters
    ----------
    texts : dict
        Key of `MAPPINGS` to RTLIL.
    top : str
        Their top module. All it holds is counted.
    folder : Path
        Where results are kept.
    flat : bool
        Whether to do away with the hierarchy first.

    Returns
    -------
    dict
        Key of ``texts`` to ``cells``, type to count; and ``memories``, name to what each became on
        an ECP5.

    Raises
    ------
    ToolError
        From Yosys.
    """
    script = _script(texts, top, flat)
    key = hashlib.sha256(repr((version(), script, texts)).encode()).hexdigest()[:24]
    kept = folder / f"{key}.json"
    if kept.exists():
        return json.loads(kept.read_text())
    folder.mkdir(parents=True, exist_ok=True)
    # Presets share modules, so that two jobs may be at the same one. A failed run leaves its log.
    work = Path(tempfile.mkdtemp(prefix=f"{key}.", dir=folder))
    for label, text in texts.items():
        (work / f"{label}.il").write_text(text)
    log = run_yosys(script, work)
    result = {label: _cells(work / f"{label}.json", top) for label in texts}
    result["memories"] = _became(log)
    write_whole(kept, json.dumps(result))
    shutil.rmtree(work)
    return result
