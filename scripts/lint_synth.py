"""Say whether the RTL is clean, how large it is, and whether it grew."""

import subprocess
import sys
import time

from hw.spec.presets import preset
from scripts.command import BAD_INPUT, FAILED, Parser, say
from scripts.synth import area, budget, design, netlist, report
from scripts.synth.area_plot import save_plot
from scripts.synth.finding import Waivers
from scripts.synth.lint_verilog import lint_preset
from scripts.synth.random_state import check_reset
from scripts.synth.yosys import ToolError, command, notice, version
from sim.verilate import BuildError

PRESETS = ("tiny", "ulx3s")


def _parser():
    parser = Parser(prog="lint-synth", description=__doc__)
    parser.add_argument(
        "--preset", action="append", help=f"configuration (default: {' and '.join(PRESETS)})"
    )
    parser.add_argument(
        "--accept", action="store_true", help="take the areas as budgets, and into the docs"
    )
    return parser


def _style():
    """Return whether ruff is content; it says itself with what it is not."""
    calls = (("check", "."), ("format", "--check", "."))
    return all(
        subprocess.run([sys.executable, "-m", "ruff", *call], cwd=design.ROOT).returncode == 0
        for call in calls
    )


def lint(name, found, path):
    """Return what all checks of one preset find, waived or not."""
    say(f"{name}: Verilator")
    findings = lint_preset(name, preset(name))
    say(f"{name}: netlist")
    findings += netlist.check_netlist(path, design.BUILD / name / "check")
    return findings + netlist.constant_inputs(found)


def measure(name, found, path):
    """Synthesise a preset and write its report; return unit to figures, and misplaced memories."""
    results = area.synthesise(found, lambda text: say(f"{name}: {text}"))
    units = area.subtrees(found, results)
    say(f"{name}: the chip as one")
    units[report.WHOLE] = area.figures(area.whole(path.read_text()), units["top"]["memory_bits"])
    written = report.write_report(name, units, version())
    plots = save_plot(name, report.shown(units), design.BUILD / name)
    print(report.table(report.shown(units)))
    say(f"{written}, {', '.join(path.name for path in plots)}")
    return units, area.misplaced(found, results)


def _run(names, accept):
    """Return the lines that say what is wrong."""
    waivers, findings, lines = Waivers(), [], []
    for name in names:
        say(f"{name}: RTLIL")
        path = design.emit(name)
        found = design.modules(path.read_text())
        findings += lint(name, found, path)
        units, misplaced = measure(name, found, path)
        findings += misplaced
        units = report.shown(units)
        if accept:
            budget.save(budget.accepted(budget.load(), name, units))
            report.update_docs(name, units, version())
        else:
            lines += budget.exceeded(budget.load(), name, units)
    say("reset from random states")
    findings += check_reset()
    lines = [str(finding) for finding in waivers.left(findings)] + lines
    if set(names) >= set(PRESETS):
        lines += [f"{waivers.path.name}: {match!r} matches nothing" for match in waivers.unused()]
    return lines


def main(arguments=None):
    """Run the command; return its exit status."""
    options = _parser().parse_args(arguments)
    start = time.monotonic()
    try:
        names = tuple(dict.fromkeys(options.preset or PRESETS))
        for name in names:
            preset(name)
        command()
        if notice():
            say(notice())
        clean = _style()
        lines = _run(names, options.accept)
    except (ValueError, OSError) as error:
        print(f"lint-synth: {error}", file=sys.stderr)
        return BAD_INPUT
    except (ToolError, BuildError) as error:
        print(f"lint-synth: {error}", file=sys.stderr)
        return FAILED
    for line in lines:
        print(f"lint-synth: {line}", file=sys.stderr)
    say(f"{len(lines)} problems, {time.monotonic() - start:,.0f} s")
    return FAILED if lines or not clean else 0


if __name__ == "__main__":
    sys.exit(main())
