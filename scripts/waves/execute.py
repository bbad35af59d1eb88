"""Runs scenarios, those with the same run together, and compares what they did."""

import concurrent.futures
import os
import time
from dataclasses import dataclass, field
from pathlib import Path

from scripts.synth.design import ROOT, write_whole
from scripts.waves import reference as references
from scripts.waves.chip_run import ChipRun, run_chip
from scripts.waves.compare import Verdict, compare
from scripts.waves.picture import draw
from scripts.waves.sample import NoWindow, WaveformError, sample, signals
from scripts.waves.unit_run import run_unit
from scripts.waves.view import write_views
from sim import verilate

__all__ = ["BUILD", "Outcome", "run_all", "shown"]

BUILD = ROOT / "build" / "wave"


@dataclass(frozen=True)
class Outcome:
    """What became of a scenario.

    Members
    -------
    scenario : Scenario
    trace : Trace
        What it did; None if its window did not begin, or the simulator died.
    verdict : Verdict
        None without a reference, or a trace.
    problems : list of str
        What failed of the run itself.
    waveform, views : Path, tuple of Path
        The file, and what viewers open.
    picture : Path
        Of the first difference, or None.
    seconds : float
        Of the run, which others may share.
    """

    scenario: object
    trace: object | None
    verdict: Verdict | None
    problems: list
    waveform: Path
    views: tuple
    picture: Path | None = None
    seconds: float = 0.0


@dataclass
class _Group:
    """Scenarios with the same run."""

    run: object
    scenarios: list = field(default_factory=list)


def shown(path):
    """Return a path as a reader at the top of the repository names it."""
    path = Path(path)
    return path.relative_to(ROOT) if path.is_relative_to(ROOT) else path


def suffix():
    """Return the kind of waveform that this Verilator writes: fst, or vcd."""
    return "fst" if verilate.writes_fst() else "vcd"


def _run(run, folder, *, full):
    runner = run_chip if isinstance(run, ChipRun) else run_unit
    return runner(run, folder, suffix(), full=full)


def _outcome(scenario, folder, ran, seconds, reference):
    waveform, defaults, problems = ran
    channels = scenario.channels or defaults
    picture = folder / "difference.svg"
    picture.unlink(missing_ok=True)
    try:
        widths = signals(waveform)
    except WaveformError:
        if not problems:
            raise
        return Outcome(scenario, None, None, problems, waveform, ())
    views = write_views(folder, waveform, scenario, channels, widths)
    try:
        trace = sample(waveform, scenario.name, scenario.clock, channels, scenario.window)
    except NoWindow as error:
        return Outcome(scenario, None, None, [*problems, str(error)], waveform, views)
    verdict = compare(reference, trace) if reference else None
    write_whole(folder / "now.txt", references.dump(trace))
    if verdict and verdict.differences:
        write_whole(picture, draw(reference, trace, verdict))
    return Outcome(
        scenario, trace, verdict, problems, waveform, views,
        picture if picture.exists() else None, seconds,
    )  # fmt: skip


def _group(group, known, full, explain):
    start = time.monotonic()
    folder = BUILD / group.scenarios[0].name
    ran = _run(group.run, folder, full=full)
    seconds = time.monotonic() - start
    outcomes = []
    for scenario in group.scenarios:
        own = BUILD / scenario.name
        own.mkdir(parents=True, exist_ok=True)
        outcomes.append(_outcome(scenario, own, ran, seconds, known[scenario.name]))
    differs = any(one.verdict and one.verdict.differences for one in outcomes)
    if differs and explain and not full and isinstance(group.run, ChipRun):
        # What a reader looks for may be anywhere: once more, with every signal.
        waveform, _, _ = _run(group.run, folder / "full", full=True)
        outcomes = [_with_full(one, waveform) for one in outcomes]
    return outcomes


def _with_full(outcome, waveform):
    scenario = outcome.scenario
    folder = BUILD / scenario.name
    views = write_views(folder, waveform, scenario, scenario.channels, signals(waveform))
    return Outcome(**{**vars(outcome), "waveform": waveform, "views": views})


def run_all(scenarios, *, full=False, explain=True, on_outcome=None):
    """Run scenarios; return their `Outcome`, in the order given.

    Parameters
    ----------
    scenarios : sequence of Scenario
    full : bool
        Whether waveforms must have every signal of the chip, also where nothing differs.
    explain : bool
        Whether a run of the chip that differs runs again, with every signal in its waveform.
    on_outcome : callable
        Called with each `Outcome` as it comes.

    Raises
    ------
    ReferenceError, WaveformError, BuildError
        A damaged reference, before anything runs; a damaged waveform; what does not compile.
    """
    known = {scenario.name: references.read(scenario.name) for scenario in scenarios}
    groups = {}
    for scenario in scenarios:
        groups.setdefault(scenario.run, _Group(scenario.run)).scenarios.append(scenario)
    found = {}
    workers = min(2, os.cpu_count() or 1)
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        futures = [pool.submit(_group, group, known, full, explain) for group in groups.values()]
        try:
            for future in concurrent.futures.as_completed(futures):
                for outcome in future.result():
                    found[outcome.scenario.name] = outcome
                    if on_outcome:
                        on_outcome(outcome)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    return [found[scenario.name] for scenario in scenarios]
