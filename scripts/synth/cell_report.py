"""What `make asic` reports: areas by unit, bits of memory, clock, and all that for each MAC."""

import json
import re
from dataclasses import asdict

from scripts.marked import put

from .design import ROOT, write_whole
from .report import shown

__all__ = ["DOCS", "figures", "table", "text", "update_docs", "write_report"]

DOCS = ROOT / "docs" / "asic.md"

FIGURES = {
    "area": "cell area, µm²",
    "cells": "cells",
    "flip_flops": "flip-flops",
    "memory_bits": "memory bits",
    "table_bits": "table bits",
}

_ELEMENT = re.compile(r"(^|\.)element_\d+_\d+$")
_NUMBERED = re.compile(r"(_\d+)+$")


def _own(mapped, library):
    """Return what `FIGURES` lists, of a module without those that it holds."""
    known = {kind: count for kind, count in mapped.cells.items() if kind in library.cells}
    bits = {True: 0, False: 0}
    for memory in mapped.memories:
        bits[memory["written"]] += memory["depth"] * memory["width"]
    return {
        "area": sum(library.cells[kind].area * count for kind, count in known.items()),
        "cells": sum(known.values()),
        "flip_flops": sum(n for kind, n in known.items() if library.cells[kind].kind == "ff"),
        "memory_bits": bits[True],
        "table_bits": bits[False],
    }


def figures(found, mapped, library):
    """Return module to what `FIGURES` lists, with all that it holds, and its number of MACs.

    Parameters
    ----------
    found : dict
        From `design.modules`.
    mapped : dict
        From `cells.map_modules`, of a module and all that it holds.
    library : liberty.Library
    """
    totals = {}

    def total(name):
        if name not in totals:
            sums = _own(mapped[name], library)
            sums["macs"] = 1 if _ELEMENT.search(found[name].unit) else 0
            for child in found[name].children:
                inner = total(child)
                sums = {key: value + inner[key] for key, value in sums.items()}
            totals[name] = sums
        return totals[name]

    for name in mapped:
        total(name)
    return totals


def _rows(top, units):
    """Return the units that the table lists: the top's own, numbered ones together."""
    if top == "top":
        return shown(units)
    rows = {top: units[top]}
    for unit, values in units.items():
        rest = unit.removeprefix(f"{top}.")
        if rest != unit and "." not in rest:
            name = _NUMBERED.sub("_*", unit)
            before = rows.get(name, dict.fromkeys(values, 0))
            rows[name] = {key: before[key] + value for key, value in values.items()}
    return rows


def table(top, units):
    """Return a table in Markdown, one row for each unit."""
    lines = ["| unit | " + " | ".join(FIGURES.values()) + " |", "|---|" + "---:|" * len(FIGURES)]
    for unit, values in _rows(top, units).items():
        cells = [f"{round(values[name], 1 if name == 'area' else None):,}" for name in FIGURES]
        lines.append(f"| {unit} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def text(words):
    """Return a report, a dictionary as `write_report` writes it, as Markdown."""
    unit, timing = words["module"], words["timing"]
    own = words["units"][unit]
    lines = [f"**{words['preset']}, {unit}** in {words['library']}", ""]
    if timing:
        lines.append(
            f"- clock: {timing['mhz']:,.1f} MHz ({timing['period']:.3f} ns), "
            f"`{timing['start']}` to `{timing['end']}`"
        )
    else:
        lines.append(f"- clock: {words['no_timing']}")
    if own["macs"]:
        lines.append(
            f"- {own['macs']} MACs: {own['area'] / own['macs']:,.1f} µm² of cells for each"
            + (f", {own['macs'] * timing['mhz'] / 1000:,.2f} GMAC/s" if timing else "")
        )
    lines.append(f"- not used: {', '.join(words['dont_use']) or 'nothing left out'}")
    lines.append(f"- `{words['command']}` with {words['tools']}")
    return "\n".join(lines) + "\n\n" + table(unit, words["units"])


def write_report(words, folder):
    """Write ``report.json`` and ``report.md``, each whole or not at all; return the latter."""
    write_whole(folder / "report.json", json.dumps(words, indent=1) + "\n")
    write_whole(folder / "report.md", text(words))
    return folder / "report.md"


def timing_words(timing):
    """Return a `sta.Timing` as a dictionary, or None."""
    return asdict(timing) | {"mhz": round(timing.mhz, 2)} if timing else None


def update_docs(words, path=None):
    """Put a report between its markers in the docs, behind the others if it is new."""
    key = f"{words['library'].split(',')[0]} {words['preset']} {words['module']}"
    put(path or DOCS, f"asic {key}", key, text(words))
