"""Samples signals of an FST or a VCD at the edges of the clock."""

import contextlib
import os
from pathlib import Path

import pywellen

from scripts.waves.trace import Samples, Trace

__all__ = ["NoWindow", "WaveformError", "sample", "signals"]


class WaveformError(ValueError):
    """A waveform that cannot be read, or lacks what is asked for."""


@contextlib.contextmanager
def _quiet():
    """Keep what a library writes past Python from the terminal: the reader's panics."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


class NoWindow(WaveformError):
    """What a window begins with does not happen."""


class _File:
    """A waveform, by the names of its signals."""

    def __init__(self, path):
        self.path = Path(path)
        if not self.path.is_file():
            raise WaveformError(f"{self.path}: there is no such waveform")
        self._waveform = self._try(lambda: pywellen.Waveform(str(self.path)))
        self._changes = {}
        self.vars = {var.full_name: var for var in self._try(self._waveform.all_vars)}

    def _try(self, work):
        # The reader panics on some damages, which is no `Exception`.
        try:
            with _quiet():
                return work()
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:
            reason = " ".join(str(error).split())
            raise WaveformError(f"{self.path}: not a waveform, or damaged: {reason}") from None

    def changes(self, name):
        """Return a list of (time, value) of a signal."""
        # The reader streams a signal's changes once only.
        if name in self._changes:
            return self._changes[name]
        found = self._changes[name] = []
        self._try(
            lambda: self._waveform.stream_changes(
                lambda time, _, value: found.append((time, value)), [self.vars[name]]
            )
        )
        return found


def signals(path):
    """Return a dict from the full name of every signal of a waveform to its width in bits."""
    return {name: var.bitwidth or 1 for name, var in _File(path).vars.items()}


def _at(edges, changes):
    """Return what a signal was just before each of the edges."""
    values, index, value = [], 0, "x"
    for edge in edges:
        while index < len(changes) and changes[index][0] < edge:
            value = changes[index][1]
            index += 1
        values.append(value if isinstance(value, int) else _number(value))
    return values


def _number(text):
    return int(text, 2) if text and set(text) <= {"0", "1"} else "x"


def _bounds(edges, window, read):
    """Return (first edge, one after the last, whether the run went on)."""
    name, wanted, count = window.start
    column = read(name)
    seen = 0
    for first, value in enumerate(column):
        if value == wanted and first and column[first - 1] != wanted:
            seen += 1
            if seen == count:
                break
    else:
        raise NoWindow(f"{name} does not become {wanted} {count} times: no window begins")
    if window.then:
        name, wanted = window.then
        column = read(name)
        first = next((n for n in range(first, len(edges)) if column[n] == wanted), None)
        if first is None:
            raise NoWindow(f"{name} does not become {wanted}: no window begins")
    lead = min(window.lead, first)
    last = len(edges)
    if window.until:
        name, wanted = window.until
        column = read(name)
        last = next((n + 1 for n in range(first + 1, last) if column[n] == wanted), last)
    first -= lead
    return first, min(last, first + window.cycles), last > first + window.cycles


def sample(path, scenario, clock, channels, window):
    """Return the `Trace` of a waveform.

    A value is what a register that the edge clocks takes: that before the edge.

    Parameters
    ----------
    path : Path
        FST or VCD.
    scenario : str
        Name of the trace.
    clock : str
        Signal whose rising edges count.
    channels : sequence of Channel
        What to sample; one whose signals are not there is left out.
    window : Window
        Which edges.

    Raises
    ------
    WaveformError
        A damaged file, or one without the signals of clock and window.
    NoWindow
        A window that does not begin.
    """
    file = _File(path)
    for name in (clock, window.start[0], *(window.then or ())[:1], *(window.until or ())[:1]):
        if name not in file.vars:
            raise WaveformError(f"{file.path}: has no signal {name}")
    edges, before = [], None
    for time, value in file.changes(clock):
        if value == 1 and before == 0:
            edges.append(time)
        before = value
    first, last, cut = _bounds(edges, window, lambda name: _at(edges, file.changes(name)))
    edges = edges[first:last]

    def read(name):
        return _at(edges, file.changes(name))

    traced = {}
    for channel in channels:
        if not all(name in file.vars for name in channel.signals()):
            continue
        samples = Samples(
            read(channel.valid) if channel.valid else None,
            read(channel.ready) if channel.ready else None,
        )
        for name, signal in channel.fields:
            values = read(signal)
            if samples.valid is not None:
                pairs = zip(values, samples.valid, strict=True)
                values = [value if valid == 1 else None for value, valid in pairs]
            samples.fields[name] = values
            samples.widths[name] = file.vars[signal].bitwidth or 1
        traced[channel.name] = samples
    return Trace(scenario, len(edges), cut, traced)
