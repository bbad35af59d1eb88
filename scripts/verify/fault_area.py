"""What parity costs: the chip on an ECP5 with it and without."""

import dataclasses
import hashlib
import json
from collections import Counter

from hw.spec.presets import preset
from scripts.synth.area import ECP5, LUTS
from scripts.synth.design import BUILD, TOP, without_sources, write_whole
from scripts.synth.yosys import run_yosys, version

__all__ = ["area_lines", "cells"]

PRESET = "tiny"
_COLUMNS = {"LUT4": LUTS, "FF": {"TRELLIS_FF": 1}, "DP16KD": {"DP16KD": 1}}


def cells(config, folder=BUILD / "parity"):
    """Return the cells of a chip on an ECP5, module by module, by kind: of a run, or kept from one.

    Raises
    ------
    ToolError
        From Yosys.
    """
    from amaranth.back import rtlil

    from hw.top import Top

    text = without_sources(rtlil.convert(Top(config), name=TOP))
    script = [line.format(top=TOP) for line in ECP5]
    key = hashlib.sha256(repr((version(), script, text)).encode()).hexdigest()[:16]
    kept = folder / f"{key}.json"
    if not kept.exists():
        work = folder / key
        write_whole(work / "in.il", text)
        run_yosys(["read_rtlil in.il", f"hierarchy -top {TOP}", *script], work)
        stat = (work / "stat.json").read_text()
        found = json.loads(stat[stat.index("{") : stat.rindex("}") + 1])
        write_whole(kept, json.dumps(_total(found["modules"], TOP)))
    return json.loads(kept.read_text())


def _total(modules, name):
    """Return the cells of a module and of all that it holds, by kind."""
    counts = Counter()
    for kind, count in modules[f"\\{name}"].get("num_cells_by_type", {}).items():
        inside = _total(modules, kind) if f"\\{kind}" in modules else {kind: 1}
        counts.update({cell: count * number for cell, number in inside.items()})
    return counts


def area_lines():
    """Return (label, value) for each kind of cell: without parity, with it, and the difference."""
    plain = preset(PRESET)
    found = [cells(plain), cells(dataclasses.replace(plain, parity=True))]
    lines = []
    for label, weights in _COLUMNS.items():
        before, after = (
            sum(weight * counts.get(kind, 0) for kind, weight in weights.items())
            for counts in found
        )
        change = f"{100 * (after - before) / before:+.1f} %" if before else "from none"
        lines.append((
            f"{label} of `{PRESET}` without, with parity",
            f"{before:,}, {after:,} ({change})",
        ))
    return lines
