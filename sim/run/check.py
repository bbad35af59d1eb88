"""Everything that is compared after a run, and the waveform of the place where it went wrong."""

from dataclasses import dataclass

from sim.compiler.host_image import HostImage
from sim.run.chip import build_chip
from sim.run.compare import Comparison, compare_cache, compare_tokens, compare_trace
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


def check_run(session, golden, tokens):
    """Compare a finished `Session` and the tokens it wrote with a `GoldenRun`."""
    host = HostImage(session.compiled, session.memory)
    pages = range(session.compiled.memory_map.page_count)
    return Checked(
        operators=compare_trace(session.compiled, golden, session.trace_path),
        cache=compare_cache(host, golden, pages),
        tokens=compare_tokens(golden, tokens),
    )


def write_waveform(session, cycle, path, *, on_step=None):
    """Run a request again in a simulator that writes a waveform around ``cycle``; return its path.

    Parameters
    ----------
    session : Session
        Any with the same chip, request, image and timing: it runs once more.
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
