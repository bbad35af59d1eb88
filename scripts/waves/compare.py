"""Compares two traces, and tells values that differ from values that come at another time."""

from dataclasses import dataclass
from itertools import zip_longest

__all__ = ["Difference", "Verdict", "compare"]

NOTHING, END = "nothing", "the end"


@dataclass(frozen=True)
class Difference:
    """Where a channel first differs.

    Members
    -------
    kind : str
        ``"value"``, ``"timing"`` (the same values in the same order, in other cycles),
        ``"missing"`` (the design has no such signals) or ``"new"`` (the reference has none).
    channel, signal : str
        The channel, and which of its signals.
    cycle : int
        First cycle that differs, of the new trace; None for missing and new.
    reference, now : str
        Both values, hexadecimal.
    note : str
        More: number of the transfer, or how far it moved.
    """

    kind: str
    channel: str
    signal: str
    cycle: int | None = None
    reference: str = ""
    now: str = ""
    note: str = ""

    def __str__(self):
        if self.kind == "missing":
            return f"{self.signal}: in the reference, but not in the design"
        if self.kind == "new":
            return f"{self.signal}: in the design, but not in the reference"
        kind = "timing only, " if self.kind == "timing" else ""
        return (
            f"{kind}cycle {self.cycle}, {self.signal}: reference {self.reference}, now {self.now} "
            f"({self.note})"
        )


@dataclass(frozen=True)
class Verdict:
    """What comparing a scenario found.

    Members
    -------
    scenario : str
    differences : list of Difference
        One for each channel that differs, values first, then by cycle.
    """

    scenario: str
    differences: list

    @property
    def kind(self):
        """``"same"``, ``"timing"`` or ``"values"``."""
        if not self.differences:
            return "same"
        only_time = all(one.kind == "timing" for one in self.differences)
        return "timing" if only_time else "values"

    @property
    def first(self):
        """The difference to look at first, or None."""
        return self.differences[0] if self.differences else None


def _hex(value):
    if value is None:
        return "-"
    return value if isinstance(value, str) else f"{value:x}"


def _what(samples):
    return "value" if samples.valid is None else "offer"


def _item(item, at):
    """Return an item of a sequence as text, if there is one."""
    if item is None:
        return NOTHING
    _, kind, values = item
    value = _hex(values[at]) if values else "1"
    return value if kind in ("offer", "value") else f"{value} {kind}"


def _item_difference(channel, number, old, new, reference):
    """Return the difference of two items of a sequence, one of which may be missing."""
    fields = list(reference.fields)
    kinds = [item[1] if item else None for item in (old, new)]
    note = f"{_what(reference)} {number}"
    if old and new and old[0] != new[0]:
        note += f", cycle {old[0]} in the reference"
    cycle = (new or old)[0]
    if not new:
        note += ", which does not come"
    if kinds[0] == kinds[1]:
        at = next(n for n, (a, b) in enumerate(zip(old[2], new[2], strict=True)) if a != b)
        values = old[2][at], new[2][at]
        name = fields[at]
    else:
        # Without a payload, that it is there is all there is to differ.
        at, name = 0, fields[0] if fields else "valid"
        values = [_item(item, at) for item in (old, new)]
    signal = channel if reference.valid is None else f"{channel}.{name}"
    return Difference("value", channel, signal, cycle, *map(_hex, values), note)


def _within(shorter, longer, cycles):
    """Return how many items of a sequence count, where another ends before it with its window.

    What the other had no time for does not. Its next item is expected as much later as its last
    one was; a stream that is silent for a quarter of the window after that has stopped.
    """
    count = len(shorter)
    if count == len(longer):
        return count
    shift = shorter[-1][0] - longer[count - 1][0] if count else 0
    stopped = longer[count][0] + shift + cycles // 4 < cycles
    return count + 1 if stopped else count


def _values_differ(channel, reference, now, cut):
    old, new = reference.sequence(), now.sequence()
    if cut:  # what is near the end of a window may be beyond that of the other
        shorter, longer = sorted(((old, reference), (new, now)), key=lambda one: len(one[0]))
        count = _within(shorter[0], longer[0], _cycles(shorter[1], channel))
        old, new = old[:count], new[:count]
    for number, (a, b) in enumerate(zip_longest(old, new)):
        if a is None or b is None or a[1:] != b[1:]:
            return _item_difference(channel, number, a, b, reference)
    return None


def _cycles(samples, channel):
    return max(len(column) for _, column in samples.rows(channel))


def _timing_note(reference, now):
    pairs = zip(reference.sequence(), now.sequence(), strict=False)
    moves = [b[0] - a[0] for a, b in pairs]
    first = next((move for move in moves if move), 0)
    what = f"the same {len(moves)} {_what(reference)}s"
    if not any(moves):
        return f"{what} in the same cycles, taken in others"
    return f"{what}, {first:+d} cycles at first, {moves[-1]:+d} at the end"


def _timing_differs(channel, reference, now):
    found = []
    for (signal, old), (_, new) in zip(reference.rows(channel), now.rows(channel), strict=True):
        cycle = next((n for n, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), None)
        if cycle is None and len(old) != len(new):
            cycle = min(len(old), len(new))
        if cycle is not None:
            found.append((cycle, signal, *(_at(column, cycle) for column in (old, new))))
    if not found:
        return None
    cycle, signal, a, b = min(found, key=lambda one: one[0])
    note = "one of the two ends there" if END in (a, b) else _timing_note(reference, now)
    return Difference("timing", channel, signal, cycle, a, b, note)


def _at(column, cycle):
    return _hex(column[cycle]) if cycle < len(column) else END


def _shape(samples):
    return samples.valid is None, samples.ready is None, samples.widths


def compare(reference, now):
    """Return the `Verdict` on a new trace.

    Of a stream, what it offers must be the same, in the same order; of a signal by itself, the
    values that it takes. If they are, other cycles are a difference in timing. Where a window was
    full before the run was over, what only one of the two had time for does not count; a stream
    that stops for a quarter of the window does.
    """
    differences = []
    cut = reference.cut or now.cut
    for name in [*reference.channels, *(n for n in now.channels if n not in reference.channels)]:
        old, new = reference.channels.get(name), now.channels.get(name)
        if old is None or new is None:
            differences.append(Difference("missing" if new is None else "new", name, name))
        elif _shape(old) != _shape(new):
            widths = [", ".join(f"{n}[{w}]" for n, w in one.widths.items()) for one in (old, new)]
            differences.append(
                Difference("value", name, name, 0, *widths, "signals or their widths")
            )
        else:
            found = _values_differ(name, old, new, cut) or _timing_differs(name, old, new)
            if found:
                differences.append(found)
    order = {"value": 0, "missing": 1, "new": 1, "timing": 2}
    differences.sort(key=lambda one: (order[one.kind], one.cycle or 0))
    return Verdict(now.scenario, differences)
