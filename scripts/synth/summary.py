"""One table of all that was measured on an ECP5: how large, how fast, and by which command."""

from scripts.marked import split

from .design import ROOT, write_whole
from .report import WHOLE

__all__ = ["DOCS", "MAPPED", "PLACED", "areas", "record", "row"]

DOCS = ROOT / "docs" / "pnr.md"

#: Devices: what is only synthesised has no speed grade.
MAPPED, PLACED = "LFE5U-85F", "LFE5U-85F, grade 6"

_BEGIN, _END = "<!-- summary, by make budgets, pnr, fpga -->\n", "<!-- end of summary -->"
_HEAD = (
    "| what | device | LUT4 | FF | DSP | block RAM | MHz | tools | command |\n"
    "|---|---|---:|---:|---:|---:|---:|---|---|\n"
)
_CELLS = ("lut", "ff", "dsp", "bram")


def row(what, device, cells, mhz, tools, command):
    """Return a row of the table, as a list of its fields.

    Parameters
    ----------
    what : str
        Preset and unit, or board: one row for each.
    device : str
    cells : dict
        Values of ``lut``, ``ff``, ``dsp`` and ``bram``.
    mhz : float
        Frequency, or None if it was only synthesised.
    tools : str
        With their versions.
    command : str
        What measured it.
    """
    counts = [f"{cells[name]:,}" for name in _CELLS]
    return [what, device, *counts, f"{mhz:.1f}" if mhz else "", tools, f"`{command}`"]


def areas(preset, units, tool):
    """Return the row of a preset that `make lint-synth` measured: synthesised as one."""
    what = f"{preset}, whole"
    command = f"make lint-synth PRESET={preset}"
    return row(what, MAPPED, units[WHOLE], None, tool, command)


def record(fields, path=None):
    """Put a row into the table in the docs, in the place of an older one of the same."""
    path = path or DOCS
    head, block, tail = split(path.read_text(), _BEGIN, _END)
    rows = {
        line.split(" | ")[0].removeprefix("| "): line
        for line in block.splitlines()[2:]
        if line.startswith("| ")
    }
    rows[fields[0]] = f"| {' | '.join(fields)} |"
    body = "".join(f"{rows[what]}\n" for what in sorted(rows))
    write_whole(path, head + _HEAD + body + tail)
