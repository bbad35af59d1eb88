"""Say whether the RTL is clean, how large it is, and whether it grew."""

import importlib.util
import subprocess
import sys
import time

from scripts.command import BAD_INPUT, FAILED, Parser, say
from scripts.synth import area, budget, design, mapping, netlist, report, summary
from scripts.synth.area_plot import save_plot
from scripts.synth.finding import Waivers
from scripts.synth.goals import array_goals
from scripts.synth.lint_verilog import lint_verilog
from scripts.synth.random_state import check_reset
from scripts.synth.target import DEFAULTS, target
from scripts.synth.yosys import ToolError, command, notice, version
from sim.verilate import BuildError


def _parser():
    parser = Parser(prog="lint-synth", description=__doc__)
    parser.add_argument(
        "--preset", action="append",
        help=f"configuration, or BOARD_board for what is around its chip ({', '.join(DEFAULTS)})",
    )  # fmt: skip
    parser.add_argument(
        "--accept", action="store_true", help="take the areas as budgets, and into the docs"
    )
    return parser


def _style():
    """Return the lines that say what ruff is not content with; it says the rest itself."""
    if importlib.util.find_spec("ruff") is None:
        return ["ruff is missing: `pip install ruff` (or `make setup`)"]
    words = {"style": ("check", "."), "format": ("format", "--check", ".")}
    return [
        f"{name}: `ruff {' '.join(call)}` is not content"
        for name, call in words.items()
        if subprocess.run([sys.executable, "-m", "ruff", *call], cwd=design.ROOT).returncode
    ]


def lint(looked):
    """Return what all checks of one target find, waived or not."""
    path, found = looked.rtlil(), looked.modules()
    say(f"{looked.name}: Verilator")
    findings = lint_verilog(looked.verilog(), looked.top)
    say(f"{looked.name}: netlist")
    findings += netlist.check_netlist(path, looked.folder / "check", top=looked.top)
    return findings + netlist.constant_inputs(found)


def begin(looked, pool):
    """Begin to synthesise a target; return a function that waits and writes its report.

    That returns unit to figures, and misplaced memories.
    """
    name, texts = looked.name, [looked.rtlil(ecp5=ecp5).read_text() for ecp5 in (False, True)]
    found, mapped = (design.modules(text) for text in texts)
    whole = area.begin_whole(pool, *texts, looked.top)
    modules = area.begin_modules(pool, found, mapped, lambda text: say(f"{name}: {text}"))

    def end():
        results = modules()
        units = looked.without_box(area.subtrees(mapped, results))
        bits = units[report.root(units)]["memory_bits"]
        units[report.WHOLE] = area.figures(whole(), bits)
        written = report.write_report(name, units, version())
        plots = save_plot(name, report.shown(units), looked.folder)
        print(report.table(report.shown(units)))
        say(f"{written}, {', '.join(path.name for path in plots)}")
        return units, area.misplaced(mapped, results)

    return end


def _look(targets):
    """Return findings, and name to unit to figures of each target.

    Yosys synthesises in the background; RTLIL is written and lint done beside it.
    """
    findings, figures = [], {}
    with mapping.workers() as pool:
        ends = []
        for looked in targets:
            say(f"{looked.name}: RTLIL")
            ends.append(begin(looked, pool))
        for looked in targets:
            findings += lint(looked)
        say("reset from random states")
        findings += check_reset()
        for looked, end in zip(targets, ends, strict=True):
            figures[looked.name], misplaced = end()
            findings += misplaced
    return findings, figures


def _run(targets, accept):
    """Return the lines that say what is wrong."""
    waivers, lines = Waivers(), []
    findings, figures = _look(targets)
    for looked in targets:
        name, units = looked.name, figures[looked.name]
        lines += array_goals(name, looked.config, units)
        units = report.shown(units)
        if accept:
            budget.save(budget.accepted(budget.load(), name, units))
            report.update_docs(name, units, version())
            summary.record(summary.areas(name, units, version()))
        else:
            lines += budget.exceeded(budget.load(), name, units)
    lines = [str(finding) for finding in waivers.left(findings)] + lines
    if {looked.name for looked in targets} >= set(DEFAULTS):
        lines += [f"{waivers.path.name}: {match!r} matches nothing" for match in waivers.unused()]
    return lines


def main(arguments=None):
    """Run the command; return its exit status."""
    options = _parser().parse_args(arguments)
    start = time.monotonic()
    try:
        targets = [target(name) for name in dict.fromkeys(options.preset or DEFAULTS)]
        command()
        if notice():
            say(notice())
        lines = _style() + _run(targets, options.accept)
    except (ValueError, OSError) as error:
        print(f"lint-synth: {error}", file=sys.stderr)
        return BAD_INPUT
    except (ToolError, BuildError) as error:
        print(f"lint-synth: {error}", file=sys.stderr)
        return FAILED
    for line in lines:
        print(f"lint-synth: {line}", file=sys.stderr)
    say(f"{len(lines)} problems, {time.monotonic() - start:,.0f} s")
    return FAILED if lines else 0


if __name__ == "__main__":
    sys.exit(main())
