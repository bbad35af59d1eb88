"""Measure whether the tests of each unit notice one wrong bit in its netlist."""

import sys

from scripts.command import BAD_INPUT, FAILED, Parser, say
from scripts.synth.yosys import ToolError, command, notice
from scripts.verify import mutate_report as report
from scripts.verify import record
from scripts.verify.mutate_explained import PATH, load
from scripts.verify.mutate_run import run_unit
from scripts.verify.mutate_units import UNITS, capture, chosen
from sim.verilate import BuildError

__all__ = ["main"]

COUNT, SEED = 100, 1
MAX_COUNT = 5000


def _parser():
    parser = Parser(prog="mutate", description=__doc__)
    parser.add_argument("--module", help="units, separated by commas (default: all)")
    parser.add_argument("--count", default=str(COUNT), help=f"mutants of each (default: {COUNT})")
    parser.add_argument("--seed", default=str(SEED), help=f"of the sample (default: {SEED})")
    return parser


def _number(name, text, low, high):
    """Return an option as an integer; ValueError says what is allowed."""
    if not text.isascii() or not text.isdigit() or not low <= int(text) <= high:
        raise ValueError(f"{name} must be an integer from {low} to {high}, not {text!r}")
    return int(text)


def findings(tallies, explanations, *, full):
    """Return the lines that say what is wrong."""
    lines = [
        f"{found.unit}: {found.percent:.1f} % of the mutants are killed, less than"
        f" {report.LEAST_PERCENT} %"
        for found in tallies
        if found.percent < report.LEAST_PERCENT
    ]
    lines += [
        f"{PATH.name}: {entry.place!r} at {entry.at!r} is said to change nothing, but a test of"
        f" {found.unit} kills {mutation.place} at {mutation.describe()}"
        for found in tallies
        for mutation, entry in found.contradictions
    ]
    if full:
        lines += [
            f"{PATH.name}: {entry.place!r} at {entry.at!r} explains no survivor"
            for entry in report.stale(tallies, explanations)
        ]
    return lines


def _run(units, explanations, *, count, seed):
    tallies = []
    for name in units:
        outcomes, seconds = run_unit(name, capture(name), count=count, seed=seed, say=say)
        found = report.tally(name, outcomes, seconds, explanations)
        tallies.append(found)
        say(f"{name}: {len(found.killed)} of {found.count} killed, {found.percent:.1f} %")
        for mutation in found.survivors:
            say(f"  survives: {mutation.number} {mutation.place} at {mutation.describe()}")
    return tallies


def main(arguments=None):
    """Run the command; return its exit status."""
    options = _parser().parse_args(arguments)
    try:
        units = chosen(options.module)
        count = _number("count", options.count, 1, MAX_COUNT)
        seed = _number("seed", options.seed, 0, 2**31 - 1)
        explanations = load()
        command()
    except (ValueError, OSError) as error:
        print(f"mutate: {error}", file=sys.stderr)
        return BAD_INPUT
    except ToolError as error:
        print(f"mutate: {error}", file=sys.stderr)
        return FAILED
    if notice():
        say(notice())
    say(f"{len(units)} modules, {count} mutants of each, seed {seed}")
    recorded = count >= COUNT and seed == SEED
    try:
        tallies = _run(units, explanations, count=count, seed=seed)
    except (ToolError, BuildError, OSError) as error:
        print(f"mutate: {error}", file=sys.stderr)
        return FAILED
    print(report.table(tallies))
    if recorded:
        kept = report.record(
            tallies, explanations, UNITS, seed=seed, before=record.load("mutation")
        )
        say(f"{record.save(kept)}")
    lines = findings(tallies, explanations, full=recorded and options.module is None)
    for line in lines:
        print(f"mutate: {line}", file=sys.stderr)
    return FAILED if lines else 0


if __name__ == "__main__":
    sys.exit(main())
