"""Say whether the RTL is clean, how large it is, and whether it grew."""

import importlib.util
import subprocess
import sys
import time

from scripts.command import BAD_INPUT, FAILED, Parser, say
from scripts.synth import area, budget, design, netlist, report, summary
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
    say(f"{looked.name}: RTLIL")
    path, found = looked.rtlil(), looked.modules()
    say(f"{looked.name}: Verilator")
    findings = lint_verilog(looked.verilog(), looked.top)
    say(f"{looked.name}: netlist")
    findings += netlist.check_netlist(path, looked.folder / "check", top=looked.top)
    return findings + netlist.constant_inputs(found)


def measure(looked):
    """Synthesise a target and write its report; return unit to figures, and misplaced memories."""
    name, texts = looked.name, [looked.rtlil(ecp5=ecp5).read_text() for ecp5 in (False, True)]
    found, mapped = (design.modules(text) for text in texts)
    results = area.synthesise(found, mapped, lambda text: say(f"{name}: {text}"))
    units = looked.without_box(area.subtrees(mapped, results))
    say(f"{name}: as one")
    bits = units[report.root(units)]["memory_bits"]
    units[report.WHOLE] = area.figures(area.whole(*texts, looked.top), bits)
    written = report.write_report(name, units, version())
    plots = save_plot(name, report.shown(units), looked.folder)
    print(report.table(report.shown(units)))
    say(f"{written}, {', '.join(path.name for path in plots)}")
    return units, area.misplaced(mapped, results)


def _run(names, accept):
    """Return the lines that say what is wrong."""
    waivers, findings, lines = Waivers(), [], []
    for name in names:
        looked = target(name)
        findings += lint(looked)
        units, misplaced = measure(looked)
        findings += misplaced
        lines += array_goals(name, looked.config, units)
        units = report.shown(units)
        if accept:
            budget.save(budget.accepted(budget.load(), name, units))
            report.update_docs(name, units, version())
            summary.record(summary.areas(name, units, version()))
        else:
            lines += budget.exceeded(budget.load(), name, units)
    say("reset from random states")
    findings += check_reset()
    lines = [str(finding) for finding in waivers.left(findings)] + lines
    if set(names) >= set(DEFAULTS):
        lines += [f"{waivers.path.name}: {match!r} matches nothing" for match in waivers.unused()]
    return lines


def main(arguments=None):
    """Run the command; return its exit status."""
    options = _parser().parse_args(arguments)
    start = time.monotonic()
    try:
        names = tuple(dict.fromkeys(options.preset or DEFAULTS))
        for name in names:
            target(name)
        command()
        if notice():
            say(notice())
        lines = _style() + _run(names, options.accept)
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
