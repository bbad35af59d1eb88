"""Compare what the RTL does in short scenarios, cycle by cycle, with recorded references."""

import os
import sys
import time

from scripts.command import BAD_INPUT, FAILED, Parser, say
from scripts.synth.design import ROOT
from scripts.verify.record import Record, save
from scripts.waves.accept import accept, stale, summary
from scripts.waves.chip import CHIP
from scripts.waves.execute import BUILD, run_all, shown
from scripts.waves.reference import VERSION
from scripts.waves.sample import WaveformError
from scripts.waves.units import UNITS
from scripts.waves.view import find_viewer, open_view
from sim.verilate import BuildError

__all__ = ["SCENARIOS", "chosen", "main"]

SCENARIOS = {scenario.name: scenario for scenario in (*UNITS, *CHIP)}
DEFAULT_VIEW = "chip_token"


def _parser():
    parser = Parser(prog="wave", description=__doc__)
    parser.add_argument(
        "--scenario", action="append", metavar="NAME", help="only this one (may come again)"
    )
    parser.add_argument("--fast", action="store_true", help="only those that the tests run")
    parser.add_argument("--list", action="store_true", help="name the scenarios")
    parser.add_argument(
        "--accept", action="store_true", help="take what the RTL does now as references"
    )
    parser.add_argument(
        "--view", action="store_true", help=f"open one in a viewer (default: {DEFAULT_VIEW})"
    )
    return parser


def chosen(names, fast=False):
    """Return the scenarios of some names, by default all; ValueError names those there are."""
    for name in names or ():
        if name not in SCENARIOS:
            known = ", ".join(SCENARIOS)
            raise ValueError(f"scenario must be one of {known}, not {name!r}")
    found = [SCENARIOS[name] for name in dict.fromkeys(names)] if names else SCENARIOS.values()
    return [scenario for scenario in found if scenario.fast or not fast]


def _line(outcome):
    if outcome.problems:
        text = "failed"
    elif outcome.verdict is None:
        text = "no reference"
    else:
        text = {"same": "same", "timing": "other cycles", "values": "OTHER VALUES"}[
            outcome.verdict.kind
        ]
    cycles = f"{outcome.trace.cycles:6,} cycles" if outcome.trace else f"{'':13}"
    say(f"{outcome.scenario.name:28} {cycles} {outcome.seconds:6.1f} s  {text}")


def _findings(outcome):
    """Yield a line for everything that is wrong with an outcome."""
    name, waveform = outcome.scenario.name, shown(outcome.waveform)
    for problem in outcome.problems:
        yield f"{name}: {problem} - {waveform}"
    if outcome.verdict is None and not outcome.problems:
        yield f"{name}: has no reference; take one: make wave-accept SCENARIO={name}"
    elif outcome.verdict and outcome.verdict.differences:
        first, *more = outcome.verdict.differences
        yield f"{name}: {first} - {shown(outcome.picture)}, {waveform}"
        for difference in more[:3]:
            yield f"{name}:   {difference}"
        if len(more) > 3:
            yield f"{name}:   and {len(more) - 3} more signals"


def _record(outcomes, seconds, suffix):
    kinds = [outcome.verdict.kind for outcome in outcomes]
    chip = sum(outcome.scenario in CHIP for outcome in outcomes)
    return Record(
        section="wave",
        command="make wave",
        summary=[
            ("Scenarios", f"{len(outcomes)}: {len(outcomes) - chip} of units, {chip} of the chip"),
            ("Equal to their references", f"{kinds.count('same')}"),
            ("Signals compared", f"{sum(_signals(o.trace) for o in outcomes):,}"),
            ("Clock cycles compared", f"{sum(o.trace.cycles for o in outcomes):,}"),
            ("Transfers compared", f"{sum(_transfers(o.trace) for o in outcomes):,}"),
            ("In the tests (CI)", f"{sum(o.scenario.fast for o in outcomes)} scenarios"),
            ("Seconds", f"{seconds:,.0f}"),
        ],
        columns=["scenario", "cycles", "signals", "transfers", "in CI"],
        rows=[
            [
                outcome.scenario.name,
                f"{outcome.trace.cycles:,}",
                str(_signals(outcome.trace)),
                f"{_transfers(outcome.trace):,}",
                "yes" if outcome.scenario.fast else "",
            ]
            for outcome in outcomes
        ],
        notes=[
            "What is compared, and what a difference looks like, is in [waves.md](../waves.md)."
        ],
        tools=[f"reference format {VERSION}", f"waveforms: {suffix.upper()}"],
    )


def _signals(trace):
    return sum(len(list(s.rows(name))) for name, s in trace.channels.items())


def _transfers(trace):
    return sum(s.transfers() for s in trace.channels.values() if s.valid is not None)


def _view(names):
    viewer = find_viewer()
    (outcome,) = run_all(chosen((names or [DEFAULT_VIEW])[:1]), full=True, on_outcome=_line)
    say(f"{viewer[0]} {shown(outcome.waveform)}")
    return open_view(viewer, outcome.waveform, outcome.views)


def _accept(outcomes, gone):
    taken = accept(outcomes, gone)
    print("\n".join(["", *summary(taken, gone)]))
    failed = [outcome for outcome in outcomes if outcome.problems]
    for outcome in failed:
        for line in _findings(outcome):
            print(f"wave: not accepted: {line}", file=sys.stderr)
    return FAILED if failed else 0


def _run(options, start):
    scenarios = chosen(options.scenario, options.fast)
    whole = not (options.scenario or options.fast)
    outcomes = run_all(scenarios, explain=not options.accept, on_outcome=_line)
    gone = stale(SCENARIOS) if whole else []
    if options.accept:
        return _accept(outcomes, gone)
    lines = [line for outcome in outcomes for line in _findings(outcome)]
    lines += [f"{shown(path)}: a reference of no scenario; make wave-accept" for path in gone]
    for line in lines:
        print(f"wave: {line}", file=sys.stderr)
    seconds = time.monotonic() - start
    if whole and not lines:
        path = save(_record(outcomes, seconds, outcomes[0].waveform.suffix[1:]))
        say(f"{shown(path)}")
    differ = sum(bool(o.problems or not o.verdict or o.verdict.differences) for o in outcomes)
    say(f"{len(outcomes)} scenarios, {differ} differ, {seconds:,.0f} s; all in {shown(BUILD)}")
    return FAILED if lines else 0


def main(arguments=None):
    """Run the command; return its exit status."""
    options = _parser().parse_args(arguments)
    start = time.monotonic()
    os.chdir(ROOT)  # benches are named relative to it
    try:
        if options.list:
            print("\n".join(f"{s.name}{' (fast)' if s.fast else ''}" for s in SCENARIOS.values()))
            return 0
        if options.view:
            chosen(options.scenario)
            return _view(options.scenario)
        return _run(options, start)
    except (ValueError, OSError, WaveformError) as error:
        print(f"wave: {error}", file=sys.stderr)
        return BAD_INPUT
    except BuildError as error:
        print(f"wave: {error}", file=sys.stderr)
        return FAILED


if __name__ == "__main__":
    sys.exit(main())
