"""Everything that is compared after a run, and the waveform of the place where it went wrong."""

from dataclasses import dataclass, replace

from sim.compiler.host_image import HostImage
from sim.run.chip import build_chip
from sim.run.compare import (
    Comparison,
    compare_cache,
    compare_candidates,
    compare_tokens,
    compare_trace,
)
from sim.run.golden_run import GoldenRun
from sim.run.session import RunFailed

__all__ = ["CYCLES_AFTER", "CYCLES_BEFORE", "Checked", "check_run", "write_waveform"]

CYCLES_BEFORE, CYCLES_AFTER = 300, 50  #: of a mismatch, in its waveform


@dataclass(frozen=True)
class Checked:
    """What was compared, by part."""

    operators: Comparison
    cache: Comparison
    tokens: Comparison

    @property
    def total(self):
        """All of it; operators come first, as they tell most about where a difference began."""
        return self.operators + self.cache + self.tokens


def check_run(session, golden, kept=()):
    """Compare a finished `Session` with what golden says of each request alone.

    Parameters
    ----------
    session : Session
        Requests that failed or were withdrawn are compared as far as they came.
    golden : GoldenRun, or sequence of GoldenRun
        Of each of its requests.
    kept : sequence of GoldenRun
        Of each of its prefixes, as a request for one token.
    """
    golden = [golden] if isinstance(golden, GoldenRun) else golden
    pairs = [*zip(session.kept, kept, strict=True), *zip(session.results, golden, strict=True)]
    runs = {result.number: replace(run, start_pos=result.start_pos) for result, run in pairs}
    tokens = cache = Comparison()
    for result, run in zip(session.results, golden, strict=True):
        tokens += compare_tokens(run, result.tokens, ended=result.kind == "end")
        if result.candidates is not None:
            count = len(result.tokens)
            tokens += compare_candidates(run, result.candidates, count=count)
    writers = _last_writers(session)
    host = HostImage(session.compiled, session.memory)
    for result, run in pairs:
        # All but the last token was fed, once a token is there; before that nobody knows.
        count = len(run.tokens) if result.kind == "end" else len(result.tokens)
        if count:
            lost = [page for page in result.pages if writers[page] > result.number]
            length = run.prompt_len + count - 1
            cache += compare_cache(host, run, result.pages, length=length, left_out=lost)
    return Checked(
        operators=compare_trace(
            session.compiled,
            runs,
            session.trace_path,
            ended=[result.number for result, _ in pairs if result.kind == "end"],
        ),
        cache=cache,
        tokens=tokens,
    )


def _last_writers(session):
    """Return the number of the last request that had each page to itself."""
    page_len = session.compiled.config.page_len
    writers = {}
    for result in sorted((*session.kept, *session.results), key=lambda result: result.number):
        writers |= dict.fromkeys(result.pages[result.start_pos // page_len :], result.number)
    return writers


def write_waveform(session, cycle, path, *, on_step=None):
    """Run again, in a simulator that writes a waveform around ``cycle``; return its path.

    Parameters
    ----------
    session : Session
        Any with the same chip, requests, image and timing: it runs once more.
    cycle : int
        Middle of the window.
    path : Path
        The file (VCD).
    on_step : callable
        As for `sim.run.chip.build_chip`.
    """
    chip = build_chip(session.chip.config, waveform=True, on_step=on_step)
    again = session.again(
        chip,
        session.folder / "waveform",
        plusargs=[
            f"+wave={path}",
            f"+wave_from={max(1, cycle - CYCLES_BEFORE)}",
            f"+wave_to={cycle + CYCLES_AFTER}",
        ],
    )
    try:
        for _ in again.events():
            pass
    except RunFailed:
        pass  # the harness ends the simulation after the window
    return path
