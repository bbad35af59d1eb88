"""Bit flips in memories and streams, bus errors, stalls, resets: what becomes of a run."""

import sys
from collections import Counter
from pathlib import Path

from hw.spec.memories import plain_path
from scripts.command import BAD_INPUT, FAILED, Parser
from scripts.synth.random_state import SEEDS, check_reset
from scripts.synth.yosys import ToolError
from scripts.verify.fault_area import area_lines
from scripts.verify.record import Record, save
from sim.device.error import DeviceError
from sim.faults.campaign import OUTCOMES, build_faulty, judge, run_cases
from sim.faults.case import DRIVER, KINDS
from sim.verilate import BuildError

COUNT, SEED = 1600, 1
FOLDER = Path("build") / "faults"
SLOW_BUILD_COUNT = 200  # cases from which an optimised simulator is worth its build

_WHAT = {
    "memory": "on-chip memory",
    "counters": "counters, no parity",
    "stream": "queues and slices",
    "dram_ecc": "DRAM with ECC",
    "dram": "DRAM without ECC",
    "axi": "bus error",
    "stall": "port stalls for ever",
    "reset": "reset in the run",
}
#: Those in which nothing may be silent.
PROTECTED = ("memory", "dram_ecc", "axi", "stall", "reset")

_NOTE = (
    "Preset `tiny` with `parity`. Silent: a token or a reported logit is another and nobody says "
    "so; a wrong token before an error counts as silent. Queues, slices, counters and DRAM without "
    "ECC are unprotected."
)


def _parser():
    parser = Parser(prog="faults", description=__doc__)
    parser.add_argument("--count", default=COUNT, help=f"faults to make (default: {COUNT})")
    parser.add_argument("--seed", default=SEED, help=f"of the campaign (default: {SEED})")
    parser.add_argument("--case", help="make only the fault of this number")
    parser.add_argument("--no-area", action="store_true", help="do not synthesise for the area")
    return parser


def _number(name, text, least):
    try:
        number = int(text)
    except ValueError:
        number = least - 1
    if number < least:
        raise ValueError(f"{name} must be an integer from {least}, not {text!r}")
    return number


def rows_of(results, clean):
    """Return the rows of the table: a fault's kind and place, and counts of outcomes."""
    rows = {}
    for case, seen in results:
        where = "all" if case.kind == "stream" else plain_path(case.where)
        rows.setdefault((case.kind, where), Counter())[judge(case, seen, clean)] += 1
    ordered = sorted(rows.items(), key=lambda item: (KINDS.index(item[0][0]), item[0][1]))
    return [
        [_WHAT[kind], where, *(str(counts[outcome]) for outcome in OUTCOMES)]
        for (kind, where), counts in ordered
    ]


def wrong(results, clean):
    """Return a line for each case that must not be: silent where protected, or a hang anywhere."""
    lines = []
    for case, seen in results:
        outcome = judge(case, seen, clean)
        if outcome == "hang" or (outcome == "silent" and case.kind in PROTECTED):
            lines.append(f"case {case.number}: {case.where}, cycle {case.cycle}: {outcome}")
    return lines


def _show(case, seen, clean):
    print(
        f"case {case.number}: {_WHAT[case.kind]}, {case.where}, row {case.row}, bit {case.bit}, "
        f"cycle {case.cycle}: {judge(case, seen, clean)}"
        + (f" ({seen['error']})" if seen["error"] else "")
    )


def _record(results, clean, seed, area):
    totals = {kind: Counter() for kind in _WHAT}
    for case, seen in results:
        totals[case.kind][judge(case, seen, clean)] += 1
    memories = totals["memory"]
    summary = [
        ("faults", f"{len(results):,}, seed {seed}"),
        (
            "in memories with parity",
            ", ".join(f"{memories[outcome]:,} {outcome}" for outcome in OUTCOMES),
        ),
        (
            "... told by the driver, which finds nonsense in memory, and not by the chip",
            str(sum((seen["error"] or "").startswith(DRIVER) for _, seen in results)),
        ),
        ("hangs", str(sum(count["hang"] for count in totals.values()))),
        ("cycles of a run", f"{clean['cycles']:,}"),
        ("runs from random registers and memories", f"{len(SEEDS)}, as from zero"),
        *area,
    ]
    notes = [_NOTE]
    return Record(
        section="faults",
        command=f"make faults COUNT={len(results)} SEED={seed}",
        summary=summary,
        columns=["fault", "where", *OUTCOMES],
        rows=rows_of(results, clean),
        notes=notes,
    )


def _run(options):
    count = _number("count", options.count, 1)
    seed = _number("seed", options.seed, 0)
    if options.case is None:
        numbers = range(count)
    else:
        numbers = [_number("case", options.case, 0)]
    print(f"seed {seed}, {len(numbers)} faults", flush=True)
    chip = build_faulty(fast=len(numbers) >= SLOW_BUILD_COUNT)
    clean, results = run_cases(chip, numbers, seed=seed, folder=FOLDER)
    print(f"{'':<74}", *(f"{outcome:>9}" for outcome in OUTCOMES))
    for row in rows_of(results, clean):
        print(f"{row[0]:<22}{row[1]:<52}", *(f"{cell:>9}" for cell in row[2:]))
    lines = wrong(results, clean)
    if options.case is not None:
        _show(*results[0], clean)
    elif count >= COUNT and not lines:
        lines = [str(finding) for finding in check_reset(parity=True)]
        if not lines:
            area = [] if options.no_area else area_lines()
            print(save(_record(results, clean, seed, area)))
    return lines


def main(arguments=None):
    """Run the command; return its exit status."""
    options = _parser().parse_args(arguments)
    try:
        lines = _run(options)
    except (ValueError, BuildError, DeviceError, ToolError, OSError) as error:
        print(f"faults: {error}", file=sys.stderr)
        return BAD_INPUT if isinstance(error, ValueError) else FAILED
    for line in lines:
        print(f"faults: {line}", file=sys.stderr)
    return FAILED if lines else 0


if __name__ == "__main__":
    sys.exit(main())
