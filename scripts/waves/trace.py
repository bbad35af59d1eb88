"""What some signals were at each clock edge of a window, whatever file they came from."""

from dataclasses import dataclass, field

__all__ = ["Channel", "Samples", "Trace", "Window", "level", "stream"]


@dataclass(frozen=True)
class Channel:
    """Signals that belong together: a stream, or one signal by itself.

    Members
    -------
    name : str
        Of the channel.
    fields : tuple of (str, str)
        Name in the reference, and signal, of each part of a stream's payload; of a signal by
        itself the only one.
    valid, ready : str
        Signals of a stream. Without ``ready`` every valid cycle is a transfer; without ``valid`` it
        is no stream.
    """

    name: str
    fields: tuple
    valid: str | None = None
    ready: str | None = None

    def signals(self):
        """Return the full names of its signals, in the order of `Samples.rows`."""
        return [s for s in (self.valid, self.ready) if s] + [signal for _, signal in self.fields]


def level(signal, name=None):
    """Return the channel of a signal by itself, whose name is by default its last part."""
    name = name or signal.rpartition(".")[2]
    return Channel(name, ((name, signal),))


def stream(prefix, fields=("payload",), name=None, separator="__", ready=True):
    """Return the channel of a stream whose signals are ``prefix``, ``separator`` and a name."""
    return Channel(
        name or prefix.rpartition(".")[2],
        tuple((one, f"{prefix}{separator}{one}") for one in fields),
        f"{prefix}{separator}valid",
        f"{prefix}{separator}ready" if ready else None,
    )


@dataclass(frozen=True)
class Window:
    """Which cycles of a run count.

    Parameters
    ----------
    start : (str, int, int)
        Signal, value and how often it must have become that value: the window begins there.
    then : (str, int)
        Signal and value: the window begins at the first edge from there at which it has that value.
    until : (str, int)
        Signal and value: the first edge after the start at which it has that value is the last.
    cycles : int
        Longest window.
    lead : int
        Cycles before the start that belong to it.
    """

    start: tuple
    then: tuple | None = None
    until: tuple | None = None
    cycles: int = 200
    lead: int = 1


@dataclass
class Samples:
    """A channel's values, one for each cycle.

    Members
    -------
    valid, ready : list of int
        As `Channel` has them, or None.
    fields : dict
        Name to values. Those of a stream are None where it is not valid. A value that is no number
        (undriven, unknown) is the text ``x``.
    widths : dict
        Name to bits.
    """

    valid: list | None = None
    ready: list | None = None
    fields: dict = field(default_factory=dict)
    widths: dict = field(default_factory=dict)

    def rows(self, channel):
        """Yield (full name, values) of each signal, in the order in which they are shown."""
        if self.valid is None:
            yield from ((channel, values) for values in self.fields.values())
            return
        yield f"{channel}.valid", self.valid
        if self.ready is not None:
            yield f"{channel}.ready", self.ready
        yield from ((f"{channel}.{name}", values) for name, values in self.fields.items())

    def offers(self):
        """Yield (cycle, kind, values) of everything that a stream offers.

        ``kind`` is ``"offer"`` in the first cycle of one, ``"changed"`` where its payload changes
        before it is taken, ``"dropped"`` where it goes without having been.
        """
        before = None  # what was offered in the cycle before, and not taken
        for cycle, valid in enumerate(self.valid):
            values = tuple(column[cycle] for column in self.fields.values())
            if valid != 1:
                if before is not None:
                    yield cycle, "dropped", before
                before = None
                continue
            if before is None:
                yield cycle, "offer", values
            elif values != before:
                yield cycle, "changed", values
            taken = self.ready is None or self.ready[cycle] == 1
            before = None if taken else values

    def sequence(self):
        """Return a list of (cycle, kind, values): what stays the same if only time differs."""
        if self.valid is not None:
            return list(self.offers())
        (values,) = self.fields.values()
        return [
            (cycle, "value", (value,))
            for cycle, value in enumerate(values)
            if cycle == 0 or value != values[cycle - 1]
        ]

    def transfers(self):
        """Return how many payloads of a stream were taken."""
        ready = self.ready or [1] * len(self.valid)
        return sum(v == 1 and r == 1 for v, r in zip(self.valid, ready, strict=True))


@dataclass(frozen=True)
class Trace:
    """A scenario's signals.

    Members
    -------
    scenario : str
        Its name.
    cycles : int
        Clock edges of the window.
    cut : bool
        The window ended because it was full, not because the run did: what is near its end may be
        outside it if the design becomes slower.
    channels : dict
        Name to `Samples`.
    """

    scenario: str
    cycles: int
    cut: bool
    channels: dict
