"""Run random models and requests on random chips, and compare everything with the golden model."""

import argparse
import functools
import random
import sys

from scripts.command import BAD_INPUT, FAILED, Parser, say
from scripts.verify.record import FOLDER as RECORDS
from scripts.verify.record import load, save
from scripts.verify.soak.case import CASES, MOST_SEED, draw_case
from scripts.verify.soak.engine import CHIPS, CLUSTERS, case_seeds, connect, soak
from scripts.verify.soak.journal import Journal, tested_digest
from scripts.verify.soak.report import figures, soak_record
from scripts.verify.soak.run import FOLDER, run_case
from sim.verilate import BuildError

MOST_SESSION = MOST_SEED // (CHIPS * CASES) - 1
MOST_MINUTES = 60 * 24 * 365
MOST_WORKERS = 10_000


def _number(kind, first, last, what):
    def read(text):
        try:
            value = kind(text)
        except ValueError:
            value = None
        if value is None or not first <= value <= last:
            raise argparse.ArgumentTypeError(f"must be {what}, not {text!r}")
        return value

    return read


def _parser():
    parser = Parser(prog="soak", description=__doc__)
    parser.add_argument(
        "--minutes",
        default=2.0,
        type=_number(float, 0.01, MOST_MINUTES, f"a number from 0.01 to {MOST_MINUTES}"),
        help="after which no case begins (default: 2)",
    )
    parser.add_argument(
        "--seed",
        type=_number(int, 0, MOST_SESSION, f"an integer from 0 to {MOST_SESSION}"),
        help="of the session; by default another one each time, which is shown",
    )
    parser.add_argument(
        "--resume", action="store_true", help="go on with the last session, or with that of --seed"
    )
    parser.add_argument(
        "--workers",
        default=2,
        type=_number(int, 1, MOST_WORKERS, f"an integer from 1 to {MOST_WORKERS}"),
        help="processes, or jobs of a cluster (default: 2)",
    )
    parser.add_argument("--cluster", choices=CLUSTERS, help="send the work to a cluster's queue")
    parser.add_argument(
        "--case",
        type=_number(int, 0, MOST_SEED, f"an integer from 0 to {MOST_SEED}"),
        help="run the case of this seed, alone and here",
    )
    return parser


def _show(outcome):
    if outcome.ok:
        say(
            f"seed {outcome.seed}: {outcome.tokens} tokens, {outcome.values:,} values, "
            f"{outcome.cycles:,} cycles, {outcome.seconds:.0f} s"
        )
    else:
        kept = f" (kept in {outcome.kept})" if outcome.kept else ""
        print(f"soak: seed {outcome.seed}: {outcome.message}{kept}", file=sys.stderr, flush=True)


def _one(seed, folder):
    """Run one case here; return the exit status."""
    say(draw_case(seed).describe())
    outcome = run_case(seed, folder=folder)
    _show(outcome)
    return 0 if outcome.ok else FAILED


def _session(options, journal, sources):
    """Return the seed of the session, and what of it is finished."""
    if not options.resume:
        session = options.seed
        if session is None:
            session = random.SystemRandom().randrange(1_000_000)
        journal.forget(session)
        return session, {}
    session = options.seed if options.seed is not None else journal.last_session()
    if session is None:
        raise ValueError(f"there is no session to go on with in {journal.path}")
    return session, journal.of_session(session, sources)


def _soak(options, folder, records):
    journal, sources = Journal(folder / "finished.jsonl"), tested_digest()
    before = load("soak", records)
    session, finished = _session(options, journal, sources)
    say(
        f"session seed {session}, {options.minutes:g} minutes, {options.workers} workers"
        + (f", {len(finished)} cases finished before" if options.resume else "")
    )
    outcomes = dict(finished)

    def note(outcome):
        if not outcome.sources:  # its workers died
            outcome = type(outcome)(**vars(outcome) | {"session": session, "sources": sources})
        journal.add(outcome)
        outcomes[outcome.seed] = outcome
        _show(outcome)

    seeds = (s for s in case_seeds(session, options.workers) if s not in finished)
    run = functools.partial(run_case, session=session, sources=sources, folder=folder)
    try:
        with connect(options.workers, options.cluster) as client:
            soak(client, run, seeds, seconds=60 * options.minutes, width=options.workers, note=note)
    except KeyboardInterrupt:
        print(f"soak: broken off; `--resume --seed {session}` goes on", file=sys.stderr)
        return FAILED
    row = figures(session, outcomes.values())
    record = soak_record(before, row)
    save(record, records)
    failed = sum(not one.ok for one in outcomes.values())
    totals = dict(record.summary)
    say(
        f"session seed {session}: {row[3]} cases, {row[4]} tokens, {row[5]} values compared, "
        f"{row[8]} cycles, {failed} failures; of all sessions {totals['cases']} cases in "
        f"{totals['simulator hours']} simulator hours"
    )
    return FAILED if failed else 0


def main(arguments=None, *, folder=FOLDER, records=RECORDS):
    """Run the command; return its exit status."""
    options = _parser().parse_args(arguments)
    try:
        if options.case is not None:
            return _one(options.case, folder)
        return _soak(options, folder, records)
    except (ValueError, OSError) as error:
        print(f"soak: {error}", file=sys.stderr)
        return BAD_INPUT
    except BuildError as error:
        print(f"soak: {error}", file=sys.stderr)
        return FAILED


if __name__ == "__main__":
    sys.exit(main())
