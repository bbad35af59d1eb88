"""Measure the chip against its roofline and against the cycle model."""

import json
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from rich.console import Console as RichConsole
from rich.table import Table

from hw.spec.presets import preset
from scripts.command import FAILED, Parser
from scripts.perf_plot import save_plots
from sim.perf.measure import measure
from sim.perf.report import report
from sim.perf.timeline import write_timeline
from sim.perf.workloads import CLOCKS, WORKLOADS
from sim.run.chip import ROOT, build_chip
from sim.run.console import Console
from sim.run.session import RunFailed
from sim.verilate import BALANCED, BuildError

OUT = ROOT / "build" / "perf"
RECORDED = ROOT / "tests" / "perf_cycles.json"
FULL, QUICK, ACCEPT = "full", "quick", "accept"
MODES = {FULL: ("small", "kv260"), QUICK: ("tiny",), ACCEPT: ("tiny",)}
MODES |= {name: (name,) for name in MODES[FULL]}


def run(name, console, out=OUT):
    """Measure all workloads of a preset; return the list of `Row`. Files go to ``out``."""
    config = preset(name)
    with console.building() as on_step:
        # What the tests build is good enough for a few hundred thousand cycles.
        chip = build_chip(config, fast=BALANCED if name == "tiny" else True, on_step=on_step)
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    rows = []
    with tempfile.TemporaryDirectory(prefix="serrano-") as folder:
        for index, workload in enumerate(WORKLOADS[name]):
            console.line(f"{workload.name} ...")
            measured = measure(workload, chip, Path(folder) / str(index), units=True)
            rows.append(report(workload, config, measured))
            path = out / f"timeline-{name}-{index}.json"
            write_timeline(measured.units, path, measured.names, config.tiles)
    words = json.dumps({"preset": name, "rows": [row.as_dict() for row in rows]}, indent=1)
    (out / f"{name}.json").write_text(words + "\n")
    return rows


def table(found):
    """Return a `rich.table.Table` of rows, a dict by preset."""
    shown = Table(title="random weights, bits not compared here")
    shown.add_column("preset")
    shown.add_column("run")
    for column in ("passes", "cycles", "roofline", "bound", "share", "goal", "model", "error"):
        shown.add_column(column, justify="right")
    shown.add_column("also")
    for name, rows in found.items():
        for row, workload in zip(rows, WORKLOADS[name], strict=True):
            shown.add_row(
                name,
                row.name,
                f"{row.passes}",
                f"{row.cycles:,}",
                f"{row.roofline:,.0f}",
                row.bound,
                f"{row.ratio:.3f}",
                "" if row.goal is None else f"{row.goal:.2f}",
                f"{row.predicted:,.0f}",
                f"{row.error:+.2%}",
                "; ".join([*_speedup(found, name, row, workload), *_rate(name, row, workload)]),
            )
    return shown


def kinds_table(name, row):
    """Return a table of a row's kinds of operators, from the chip's counters."""
    shown = Table(title=f"{name}: {row.name}", title_justify="left")
    shown.add_column("operators")
    for column in ("cycles", "share", "bytes", "MACs"):
        shown.add_column(column, justify="right")
    for kind, found in row.kinds.items():
        shown.add_row(
            kind,
            f"{found['cycles']:,}",
            f"{found['share']:.1%}",
            f"{found['bytes']:,}",
            f"{found['macs']:,}",
        )
    for label in list(row.spent)[len(row.kinds) :]:
        cycles = row.spent[label]
        shown.add_row(label, f"{cycles:,}", f"{cycles / row.cycles:.1%}", "", "")
    return shown


def units_table(row):
    """Return a table of what the units did in a row, in shares of the cycles."""
    shown = Table()
    shown.add_column("unit")
    states = ("busy", "starved", "stalled")
    for state in states:
        shown.add_column(state, justify="right")
    for unit, found in row.units.items():
        cells = (f"{found[state]:.1%}" if state in found else "" for state in states)
        shown.add_row(unit, *cells)
    return shown


def _speedup(found, name, row, workload):
    """Yield how much faster a row is than its like on one tile, if that was measured."""
    single = replace(preset(name), tiles=1)
    for other, rows in found.items():
        if other == name or preset(other) != single:
            continue
        for like in rows:
            if like.name == row.name:
                goal = _goal(workload.speedup_goal)
                yield f"{like.cycles / row.cycles:.2f} times as fast as {other}{goal}"


def _rate(name, row, workload):
    """Yield the tokens per second of a row that decodes, if its preset has a clock."""
    if name in CLOCKS and workload.prompt == 1:
        rate = workload.tokens * workload.sequences * CLOCKS[name] / row.cycles
        goal = _goal(workload.rate_goal)
        yield f"{rate:,.0f} tokens/s at {CLOCKS[name] / 1e6:.0f} MHz{goal}"


def _goal(goal):
    return "" if goal is None else f" (goal {goal:g})"


def worse(rows, recorded):
    """Return a line for each row that takes more cycles than were recorded, or is not there."""
    lines = []
    for row in rows:
        if row.name not in recorded:
            lines.append(f"{row.name}: no cycles are recorded")
        elif row.cycles > recorded[row.name]:
            lines.append(f"{row.name}: {row.cycles} cycles, and {recorded[row.name]} are recorded")
    return lines


def main(arguments=None):
    """Run the command; return its exit status."""
    parser = Parser(prog="perf", description=__doc__)
    parser.add_argument(
        "mode", nargs="?", default=FULL, choices=MODES,
        help="full, one of its presets, a quick subset that is compared with recorded cycles, "
        "or accept new ones",
    )  # fmt: skip
    mode = parser.parse_args(arguments).mode
    console = Console()
    try:
        found = {name: run(name, console) for name in MODES[mode]}
    except (BuildError, RunFailed) as error:
        print(f"perf: {error}", file=sys.stderr)
        return FAILED
    rich = RichConsole(width=None if console.is_terminal else 200)
    for name, rows in found.items():
        for row in rows:
            rich.print(kinds_table(name, row), units_table(row))
    rich.print(table(found))
    for name, rows in found.items():
        save_plots(rows, preset(name), name, OUT / name)
        console.line(f"{OUT / name}.json, timelines (ui.perfetto.dev) and plots beside it")
    rows = [row for rows in found.values() for row in rows]
    if mode == ACCEPT:
        cycles = {row.name: row.cycles for row in rows}
        RECORDED.write_text(json.dumps(cycles, indent=1) + "\n")
    problems = worse(rows, json.loads(RECORDED.read_text())) if mode == QUICK else []
    for line in problems:
        print(f"perf: {line}; `make perf PERF=accept` records new ones", file=sys.stderr)
    return FAILED if problems else 0


if __name__ == "__main__":
    sys.exit(main())
