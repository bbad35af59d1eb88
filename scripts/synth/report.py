"""Tables of areas: on the screen, in files, and in the docs."""

import json
import re

from .area import DEVICE, FIGURES
from .design import BUILD, ROOT, write_whole

__all__ = ["DOCS", "WHOLE", "root", "shown", "table", "update_docs", "write_report"]

DOCS = ROOT / "docs" / "synthesis.md"
WHOLE = "whole, flattened"

_SHOWN = re.compile(r"[^.]+|(core|board)\.[^.]+|core\.tile_\d+\.[^.]+")
_MARKED = "<!-- areas of {0}, by make budgets -->\n(.*?)<!-- end of {0} -->"


def shown(units):
    """Return the units that tables and budgets list.

    Those in the chip, those in its core, and those in a tile of the core; of what is around a
    board's chip, those in the board.
    """
    return {unit: units[unit] for unit in sorted(units) if _SHOWN.fullmatch(unit)}


def root(units):
    """Return the unit that all others are in."""
    return "board" if "board" in units else "top"


def table(units):
    """Return a table in Markdown, one row for each unit."""
    lines = ["| unit | " + " | ".join(FIGURES.values()) + " |", "|---|" + "---:|" * len(FIGURES)]
    for unit, figures in units.items():
        cells = [f"{figures[name]:,}" for name in FIGURES]
        lines.append(f"| {unit} | " + " | ".join(cells) + " |")
    top = root(units)
    share = [f"{units[top][n] / DEVICE[n]:.1%}" if n in DEVICE else "" for n in FIGURES]
    lines.append(f"| {top}, of an LFE5U-85F | " + " | ".join(share) + " |")
    return "\n".join(lines) + "\n"


def write_report(preset, units, tool, folder=BUILD):
    """Write the areas of a preset, ``areas.json`` (all units) and ``areas.md``; return the latter.

    Each file is written beside its place and then renamed: it is whole or not there.
    """
    words = {"preset": preset, "tool": tool, "device": DEVICE, "units": units}
    write_whole(folder / preset / "areas.json", json.dumps(words, indent=1) + "\n")
    path = folder / preset / "areas.md"
    write_whole(path, f"Preset {preset}, {tool}.\n\n{table(shown(units))}")
    return path


def update_docs(preset, units, tool, path=DOCS):
    """Put a preset's table between its markers in the docs, if they are there."""
    text = path.read_text()
    found = re.search(_MARKED.format(preset), text, re.S)
    if found:
        body = f"\n{tool}.\n\n{table(shown(units))}\n"
        write_whole(path, text[: found.start(1)] + body + text[found.end(1) :])
