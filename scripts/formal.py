"""Prove properties of the RTL; show that none is vacuous, and that each finds a planted bug."""

import sys
import time
from concurrent.futures import ThreadPoolExecutor

from scripts.command import BAD_INPUT, FAILED, Parser
from scripts.synth.design import ROOT
from scripts.synth.yosys import ToolError
from scripts.verify import formal_tools
from scripts.verify.formal_proof import Outcome, prove
from scripts.verify.formal_property import PropertyError, matching
from scripts.verify.record import Record, save

#: Proofs side by side.
WORKERS = 2


def _parser():
    parser = Parser(prog="formal", description=__doc__)
    parser.add_argument("--property", help="only those with this in their name")
    parser.add_argument("--list", action="store_true", help="say what there is, prove nothing")
    return parser


def _line(outcome):
    item = outcome.property
    tail = " (kept)" if outcome.kept else ""
    verdict = "FAIL" if outcome.failure else "PASS"
    return (
        f"{verdict} {item.name:<34} {item.mode:<20} {item.solver:<9} {outcome.seconds:7.1f} s  "
        f"{len(outcome.covers)} covers, {len(outcome.bugs)} of {len(item.bugs)} bugs found{tail}"
    )


def _attempt(item):
    """Prove a property; a tool that dies is its failure."""
    try:
        return prove(item)
    except (ToolError, PropertyError) as error:
        return Outcome(item, failure=str(error), covers={}, bugs=[], kept=False)


def _record(outcomes, seconds):
    solvers = dict.fromkeys(outcome.property.solver for outcome in outcomes)
    proved = [outcome for outcome in outcomes if not outcome.failure]
    unbounded = sum(outcome.property.induction for outcome in proved)
    found = sum(len(outcome.bugs) for outcome in outcomes)
    planted = sum(len(outcome.property.bugs) for outcome in outcomes)
    return Record(
        section="formal",
        command="make formal",
        summary=[
            ("properties proved", f"{len(proved)} of {len(outcomes)}"),
            ("... for all time, by induction", f"{unbounded}"),
            ("... for a number of cycles from reset", f"{len(proved) - unbounded}"),
            ("cover points reached", f"{sum(len(outcome.covers) for outcome in outcomes)}"),
            ("planted bugs found", f"{found} of {planted}"),
            ("time of the solvers", f"{seconds:,.0f} s"),
        ],
        columns=["property", "says", "mode", "solver", "s", "covers", "planted bugs found"],
        rows=[
            [
                outcome.property.name,
                outcome.property.says,
                outcome.property.mode,
                outcome.property.solver,
                f"{outcome.seconds:.0f}",
                f"{len(outcome.covers)}, the last in cycle {max(outcome.covers.values())}",
                "; ".join(what for what, _ in outcome.bugs),
            ]
            for outcome in proved
        ],
        notes=[f"`{outcome.property.name}` fails: {outcome.failure}." for outcome in outcomes
            if outcome.failure],
        tools=formal_tools.versions(solvers),
    )  # fmt: skip


def main(arguments=None):
    """Run the command; return its exit status."""
    options = _parser().parse_args(arguments)
    try:
        items = matching(options.property)
        if options.list:
            for item in items:
                print(f"{item.name:<34} {item.mode:<20} {item.says}")
            return 0
        formal_tools.check(dict.fromkeys(item.solver for item in items))
    except (PropertyError, ToolError, OSError) as error:
        print(f"formal: {error}", file=sys.stderr)
        return BAD_INPUT
    start = time.monotonic()
    outcomes = []
    with ThreadPoolExecutor(WORKERS) as pool:
        for outcome in pool.map(_attempt, items):
            outcomes.append(outcome)
            print(_line(outcome), flush=True)
            if outcome.failure:
                trace = f" (see {outcome.trace.relative_to(ROOT)})" if outcome.trace else ""
                print(f"formal: {outcome.property.name}: {outcome.failure}{trace}", file=sys.stderr)
    failed = sum(bool(outcome.failure) for outcome in outcomes)
    print(
        f"{len(outcomes) - failed} of {len(outcomes)} properties hold, "
        f"{time.monotonic() - start:,.0f} s"
    )
    if options.property is None:
        save(_record(outcomes, sum(outcome.seconds for outcome in outcomes)))
    return FAILED if failed else 0


if __name__ == "__main__":
    sys.exit(main())
