"""A library of a few cells, and its areas by hand."""

import re
from pathlib import Path

__all__ = ["AREAS", "FEW_CELLS", "without"]

FEW_CELLS = Path(__file__).parent / "few_cells.lib"
AREAS = {
    "INV": 1.25, "BUF": 2, "NAND2": 2.5, "NOR2": 2.75, "TIE1": 0.5, "TIE0": 0.75, "DFF": 7.5,
}  # fmt: skip


def without(*names):
    """Return the text of the library without some cells."""
    parts = re.split(r"(?=^  cell \()", FEW_CELLS.read_text(), flags=re.M)
    kept = [
        part for part in parts[1:] if not part.startswith(tuple(f"  cell ({n})" for n in names))
    ]
    end = "" if parts[-1] in kept else "}\n"
    return "".join([parts[0], *kept]) + end
