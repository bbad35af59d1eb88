"""Write the page of coverage, and its record for docs/verification.md."""

import re
import time
from pathlib import Path

import jinja2

from scripts.synth.design import ROOT, write_whole
from scripts.verify.coverage_merge import GOALS
from scripts.verify.record import Record, commit

__all__ = ["NOT_SIMULATED", "absent", "record", "write"]

_TEMPLATE = Path(__file__).with_name("coverage_page.html")

#: Files of `hw/` with a module of their own that these tests do not simulate, and why.
NOT_SIMULATED = {
    "hw/board/board_top.py": "joins chip, bridge and SDRAM; its simulator is stopped from outside "
    "and writes nothing (tests/board/test_simulated_board.py)",
    "hw/board/platforms/fpga_top.py": "pins and clocks of a board, which only an FPGA has",
    "hw/board/sdram_pins.py": "registers beside the pins, in the simulator of a board alone",
    "hw/board/uart.py": "joins receiver and transmitter, in the simulator of a board alone",
    "hw/ecp5/pll.py": "an instance of a cell that only the FPGA has",
    "hw/core.py": "joins the units of the chip",
}


def absent(report):
    """Return file to reason of each unit of `hw/` that was in no simulator."""
    met = {unit.name for unit in report.units}
    files = [
        path.relative_to(ROOT).as_posix()
        for path in sorted((ROOT / "hw").rglob("*.py"))
        if re.search(r"^    def elaborate\(", path.read_text(), re.M)
    ]
    return {
        name: NOT_SIMULATED.get(name, "no test that ran has it")
        for name in files
        if name not in met
    }


def write(report, path):
    """Write the page of a `Report`."""
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    template = environment.from_string(_TEMPLATE.read_text())
    text = template.render(
        report=report,
        goals=GOALS,
        absent=absent(report),
        commit=commit(),
        date=time.strftime("%Y-%m-%d"),
    )
    write_whole(path, text + "\n")


def _share(count):
    return f"{count.percent:.1f}" if count.total else "–"


def _of(count):
    return f"{count.percent:.1f} % ({count.met:,} of {count.total:,}, {count.excluded:,} excluded)"


def record(report, command, tools):
    """Return the `Record` of a `Report`."""
    summary = [
        [f"{kind} (goal {GOALS[kind]:.0f} %)", _of(count)] for kind, count in report.totals.items()
    ]
    summary.append(["functional bins", _of(report.functional())])
    below = [unit.name for unit in report.units if unit.misses()]
    summary.append(["units below a goal", ", ".join(below) or "none"])
    rows = [
        [unit.name, *(_cell for kind in GOALS for _cell in _cells(unit.counts[kind]))]
        for unit in report.units
    ]
    groups = ", ".join(f"{group.name} {_share(group.count)} %" for group in report.groups)
    where = "`build/coverage/index.html`, which `make coverage` writes"
    notes = [
        f"Functional coverage by point: {groups}.",
        f"Percentages are of what no reason excludes; every hole and every reason is in {where}.",
    ]
    missing = absent(report)
    if missing:
        text = "; ".join(f"`{name}`: {reason}" for name, reason in missing.items())
        notes.append(f"Not simulated here: {text}.")
    columns = ["unit"]
    for kind in GOALS:
        columns += [f"{kind} %", f"{kind} met", "excluded"]
    return Record(
        section="coverage",
        command=command,
        summary=summary,
        columns=columns,
        rows=rows,
        notes=notes,
        tools=tools,
    )


def _cells(count):
    return [_share(count), f"{count.met:,} / {count.total:,}", f"{count.excluded:,}"]
