"""Reads what nextpnr reports, and names it in our own words."""

import re
from dataclasses import dataclass

from scripts.marked import put
from scripts.pnr_harness import UNIT
from scripts.synth.area import DEVICE
from scripts.synth.design import ROOT

__all__ = ["DOCS", "Path", "critical_path", "frequency", "overfull", "own_name", "text", "update"]

DOCS = ROOT / "docs" / "pnr.md"

_USED = re.compile(r"^Info:\s+(\w+):\s+(\d+)/\s*(\d+)\s+\d+%$", re.M)
#: Where a signal's name ends and that of the cell begins that Yosys made for it.
_CELL = re.compile(
    r"(_(TRELLIS_FF|TRELLIS_DPR16X4|TRELLIS_COMB|LUT4|CCU2C|PFUMX|L6MUX21|DP16KD|MULT18X18D)_.*"
    r"|\$.*)$"
)
_TWICE = re.compile(r"(\[\d+\])\1")
_KINDS = {"clk-to-q": "logic", "setup": "logic", "logic": "logic", "routing": "routing"}


@dataclass(frozen=True)
class Path:
    """The slowest path from register to register.

    Members
    -------
    start, end : str
        Registers.
    through : tuple of str
        Signals on the way, in order.
    logic, routing : float
        Delays, in nanoseconds.
    """

    start: str
    end: str
    through: tuple
    logic: float
    routing: float

    def __str__(self):
        names = ", ".join(f"`{name}`" for name in self.through)
        return (
            f"`{self.start}` to `{self.end}`{f' through {names}' if names else ''}: "
            f"{self.logic:.2f} ns of logic, {self.routing:.2f} ns of routing"
        )


def own_name(name):
    """Return the signal that a cell or net was made for: ``element_2_0.product[7]``."""
    return _TWICE.sub(r"\1", _CELL.sub("", name.removeprefix(f"{UNIT}.")))


def overfull(log):
    """Return what there is too little of, from nextpnr's log; an empty text if all fits."""
    counts = {kind: (int(used), int(there)) for kind, used, there in _USED.findall(log)}
    return ", ".join(f"{used} of {n} {kind}" for kind, (used, n) in counts.items() if used > n)


def frequency(report):
    """Return the frequency of the slowest clock, in MHz.

    Raises
    ------
    ValueError
        The design has no clock.
    """
    if not report["fmax"]:
        raise ValueError("the report has no clock: nothing of the design is left")
    return min(clock["achieved"] for clock in report["fmax"].values())


def critical_path(report):
    """Return the slowest `Path` between two registers."""
    paths = [
        path["path"]
        for path in report["critical_paths"]
        if path["from"] == path["to"] and path["from"] != "<async>"
    ]
    steps = max(paths, key=lambda steps: sum(step["delay"] for step in steps))
    delays = {"logic": 0.0, "routing": 0.0}
    for step in steps:
        delays[_KINDS[step["type"]]] += step["delay"]
    start, end = own_name(steps[0]["from"]["cell"]), own_name(steps[-1]["to"]["cell"])
    nets = [own_name(step["net"]) for step in steps if step["type"] == "routing"]
    names = (re.sub(r"\[\d+\]$", "", net) for net in nets)
    ends = {re.sub(r"\[\d+\]$", "", name) for name in (start, end)}
    through = tuple(dict.fromkeys(name for name in names if name and name not in ends))
    return Path(start, end, through, delays["logic"], delays["routing"])


def text(preset, unit, cells, report, *, mhz, seed, tools):
    """Return the result as Markdown.

    Parameters
    ----------
    preset, unit : str
        What was placed.
    cells : dict
        The unit's own cells.
    report : dict
        nextpnr's.
    mhz : float
        The clock it must reach.
    seed : int
        Of the placer.
    tools : str
        Their versions.
    """
    share = ", ".join(
        f"{cells[name]:,} of {DEVICE[name]:,} {label}"
        for name, label in (("lut", "LUT4"), ("ff", "FF"), ("dsp", "DSP"), ("bram", "block RAM"))
    )
    return (
        f"**{preset}, {unit}: {frequency(report):.1f} MHz** on an LFE5U-85F, speed grade 6 "
        f"(must reach {mhz:g}).\n\n"
        f"- cells: {share}\n"
        f"- slowest path: {critical_path(report)}\n"
        f"- `make pnr PRESET={preset} MODULE={unit} SEED={seed}` with {tools}\n"
    )


def update(preset, unit, body, path=DOCS):
    """Put a result between its markers in the docs, behind the others if it is new."""
    put(path, f"pnr {preset} {unit}", f"{preset} {unit}", body)
