"""Runs one case, compares everything with the golden model, and keeps what a failure needs."""

import dataclasses
import json
import shutil
import tempfile
import time
import traceback
from pathlib import Path

from scripts.synth.design import ROOT, write_whole
from scripts.verify.soak.case import draw_case
from scripts.verify.soak.chip import describe_chip
from scripts.verify.soak.outcome import Outcome
from sim.run.check import check_run, write_waveform
from sim.run.chip import build_chip
from sim.run.compare import Comparison
from sim.run.golden_run import run_golden
from sim.run.interruption import check_attempt
from sim.run.session import MemoryTiming, RunFailed, Session
from sim.verilate import BuildError, find_verilator

__all__ = ["FOLDER", "run_case"]

FOLDER = ROOT / "build" / "soak"  #: by default

_KEPT_FILES = ("run.log", "events.jsonl", "results.xml")


class _Different(Exception):
    """The chip did something else; ``cycle``: where to look, or None."""

    def __init__(self, message, cycle=None):
        super().__init__(message)
        self.cycle = cycle


def run_case(seed, *, session=0, sources="", folder=FOLDER, config=None):
    """Run a case; return its `Outcome`.

    Parameters
    ----------
    seed : int
        Of the case.
    session, sources
        For the `Outcome`.
    folder : Path
        What failed is kept in ``failures/<seed>`` there.
    config : ArchConfig
        Another chip than the case's own.

    Raises
    ------
    ValueError
        A seed of no case.
    sim.verilate.BuildError
        There is no simulator.
    """
    case = draw_case(seed, config)
    find_verilator()
    figures = {"chip": describe_chip(case.config), "requests": len(case.requests)}
    folder = Path(folder)
    runs = folder / "runs"
    runs.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f"{seed}-", dir=runs))
    start = time.monotonic()
    message = kept = ""
    run = None
    try:
        golden = _golden(case)
        run = Session(
            build_chip(case.config, fast=False),
            golden.compiled,
            case.requests,
            work,
            max_prefill=case.max_prefill,
            timing=MemoryTiming(case.timing),
            max_cycles=case.max_cycles,
            interruptions=case.interruptions,
        )
        figures |= _compare(case, run, golden)
    except Exception as error:  # whatever goes wrong here is a failure to be kept
        message = str(error) or repr(error)
        if not isinstance(error, _Different | RunFailed):
            message = f"{type(error).__name__}: {message}"
        kept = _keep(case, run, error, message, folder / "failures" / str(seed))
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return Outcome(
        seed=seed,
        session=session,
        sources=sources,
        ok=not message,
        message=message,
        kept=str(kept),
        seconds=round(time.monotonic() - start, 3),
        **figures,
    )


@dataclasses.dataclass(frozen=True)
class _Golden:
    """What a case must give: program, and the golden run of each request, by its number there."""

    model: object
    compiled: object
    requests: list


def _golden(case):
    model = case.model()
    return _Golden(
        model,
        case.compiled(model),
        [
            run_golden(model, one.prompt, one.max_tokens, **one.golden_options(case.config))
            for one in case.requests
        ],
    )


def _compare(case, run, golden):
    """Run and compare; return figures of the `Outcome`."""
    end = None
    for event in run.events():
        if event["kind"] != "alive":
            end = event
    if end["error"] is not None:
        raise _Different(f"the chip stopped: {end['error']['text']}", end["cycle"])
    kept = [run_golden(golden.model, tokens, 1) for tokens in run.prefixes]
    total = Comparison()
    for attempt in run.attempts:
        total += check_attempt(golden.compiled, attempt, golden.requests, kept)
    if not total.mismatches:
        total += check_run(run, golden.requests, kept).total
    if total.mismatches:
        cycle = total.first.cycle or end["cycle"]
        raise _Different(f"{total.mismatches} values differ: {total.first}", cycle)
    for index, (request, result) in enumerate(zip(case.requests, run.results, strict=True)):
        allowed = ("end",) if request.cancel_after is None else ("end", "cancelled")
        if result.kind not in allowed:
            why = f"{result.kind}{f' ({result.text})' if result.text else ''}"
            raise _Different(f"request {index} must end, and has: {why}", end["cycle"])
    seen = [*run.results, *(r for attempt in run.attempts for r in attempt.results if r)]
    return {
        "tokens": sum(len(result.tokens) for result in seen),
        "values": total.values,
        "operators": total.operators,
        "interruptions": len(run.attempts),
        "cycles": end["cycle"],
    }


def _keep(case, run, error, message, folder):
    """Write down what is needed to look for a failure; return the folder."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    whole = {
        "seed": case.seed,
        "message": message,
        "again": f".venv/bin/python -m scripts.soak --case {case.seed}",
        "case": dataclasses.asdict(case),
    }
    write_whole(folder / "case.json", json.dumps(whole, indent=1, default=str) + "\n")
    write_whole(folder / "traceback.txt", "".join(traceback.format_exception(error)))
    if run is not None:
        for name in _KEPT_FILES:
            if (run.folder / name).exists():
                shutil.copy(run.folder / name, folder / name)
        cycle = getattr(error, "cycle", None) or _last_cycle(run)
        if cycle:
            try:
                write_waveform(run, cycle, folder / "waveform.vcd")
            except (BuildError, ValueError, OSError) as problem:
                write_whole(folder / "waveform.txt", f"no waveform: {problem}\n")
    return folder


def _last_cycle(run):
    """Return the cycle of the last event before a run failed, or None."""
    path = run.folder / "events.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    events = [json.loads(line) for line in lines if line.endswith("}")]
    return events[-1]["cycle"] if events else None
