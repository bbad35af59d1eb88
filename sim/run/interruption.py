"""Runs that a host breaks off: what was seen of them, and how it is compared."""

from dataclasses import dataclass, field, replace

import numpy as np

from hw.probe import PROBES
from sim.run.compare import Comparison, compare_tokens, compare_trace
from sim.run.expectation import payload_widths
from sim.run.trace import HEADER_WORDS

__all__ = ["KINDS", "Attempt", "Interruption", "check_attempt", "cut_trace"]

#: ``reset``: the reset line, in the middle of whatever the host or the memory does;
#: ``stop``: the stop bit, after which the host begins anew without a reset.
KINDS = ("reset", "stop")


@dataclass(frozen=True, kw_only=True)
class Interruption:
    """The host begins to run all requests, and breaks off.

    Parameters
    ----------
    kind : str
        One of `KINDS`.
    after_cycles : int
        Clock cycles from the first register written to the break; if all ended before, then.
    reset_cycles : int
        Clock cycles for which the reset line is high.

    Raises
    ------
    ValueError
        Another kind, or a number that is not positive.
    """

    kind: str
    after_cycles: int
    reset_cycles: int = 4

    def __post_init__(self):
        if self.kind not in KINDS:
            raise ValueError(f"kind must be one of {', '.join(KINDS)}, not {self.kind!r}")
        for name in ("after_cycles", "reset_cycles"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be positive, not {getattr(self, name)!r}")


@dataclass
class Attempt:
    """What a host saw of a run that it broke off.

    Members
    -------
    cycle : int
        First cycle that does not belong to it.
    results : list of sim.run.session.Result
        Of each request; None for those that were not submitted yet.
    kept : list of sim.run.session.Result
        Of the prefixes that were complete.
    trace_path : Path
        What the probes showed of its whole passes.
    """

    cycle: int
    results: list = field(default_factory=list)
    kept: list = field(default_factory=list)
    trace_path: object = None


def check_attempt(compiled, attempt, golden, kept=()):
    """Compare what an `Attempt` showed, as far as it came; return a `Comparison`.

    Parameters
    ----------
    compiled : CompiledModel
        What ran.
    attempt : Attempt
        Its results are in the order of ``golden``.
    golden, kept : sequences of GoldenRun
        As for `sim.run.check.check_run`.
    """
    total = Comparison()
    runs = {}
    for result, run in zip(attempt.results, golden, strict=True):
        if result is not None:
            runs[result.number] = replace(run, start_pos=result.start_pos)
            total += compare_tokens(run, result.tokens, ended=result.kind == "end")
    # A prefix that was not complete has no result: it had the next number.
    for number, run in enumerate(kept):
        runs.setdefault(number, run)
    return total + compare_trace(compiled, runs, attempt.trace_path, ended=())


def cut_trace(path, config, cycles):
    """Cut the file of the probes where runs were broken off.

    Parameters
    ----------
    path : Path
        The file; what is left in it is behind the last of ``cycles``.
    config : ArchConfig
        Of the chip.
    cycles : sequence of int
        First cycle behind each broken run, rising.

    Returns
    -------
    list of Path
        A file for each broken run, with its passes but the last, which may not be whole.
    """
    words = np.fromfile(path, dtype="<u8")
    sizes = {kind: HEADER_WORDS + -(-width // 64) for kind, width in payload_widths(config).items()}
    starts, kinds, times, at = [], [], [], 0
    while at < len(words):
        kind = int(words[at]) & 0xFFFF
        starts.append(at)
        kinds.append(kind)
        times.append(int(words[at + 1]))
        at += sizes[kind]
    starts.append(len(words))
    found, first = [], 0
    for number, cycle in enumerate(cycles):
        last = first
        while last < len(times) and times[last] < cycle:
            last += 1
        part = path.with_name(f"{path.stem}-{number}{path.suffix}")
        words[starts[first] : starts[_whole_passes(kinds, first, last)]].tofile(part)
        found.append(part)
        first = last
    words[starts[first] :].tofile(path)
    return found


def _whole_passes(kinds, first, last):
    """Return the record behind the last pass that another follows, of those from ``first``."""
    place = PROBES["place"]
    for record in range(last - 1, first, -1):
        if kinds[record] == place and kinds[record - 1] != place:
            return record
    return first
