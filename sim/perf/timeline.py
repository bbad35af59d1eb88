"""From the units' trace to intervals, operators, and a timeline for ui.perfetto.dev."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hw.probe import TILE_UNITS, UNITS

__all__ = [
    "Interval",
    "intervals",
    "operators",
    "read_units",
    "timeline",
    "works_of",
    "write_timeline",
]

# As `hw.probe.units_layout` has them.
RUNNING_BIT = len(UNITS)
OP_SHIFT = RUNNING_BIT + 1
OP_WIDTH = 16
TILES_SHIFT = OP_SHIFT + OP_WIDTH  # of the bits of tile 1
JOIN_CYCLES = 16


@dataclass(frozen=True)
class Interval:
    """Something that went on from cycle ``start`` up to, but not, ``stop``; ``active`` of them."""

    start: int
    stop: int
    active: int
    op: int = 0

    @property
    def cycles(self):
        """Its length."""
        return self.stop - self.start


def read_units(path):
    """Return (cycles, bits), uint64 arrays, of a file that `sim/harness/units.cpp` wrote.

    Raises
    ------
    ValueError
        A file that ends inside a record.
    """
    words = np.fromfile(path, dtype="<u8")
    if len(words) % 2 or Path(path).stat().st_size % 8:
        raise ValueError(f"{path} must have whole records of 16 bytes")
    return words[0::2], words[1::2]


def works_of(bits, unit, tile=0):
    """Return where (bool array) the bit of a unit of `UNITS`, or of a tile's, is set."""
    at = UNITS.index(unit)
    if tile:
        at = TILES_SHIFT + (tile - 1) * len(TILE_UNITS) + TILE_UNITS.index(unit)
    return (bits >> np.uint64(at) & np.uint64(1)).astype(bool)


def intervals(cycles, bits, unit, tile=0, *, join=JOIN_CYCLES):
    """Return the `Interval` list in which a bit of `UNITS`, or of a tile's units, was set.

    Gaps shorter than ``join`` cycles are part of an interval, but not of its ``active`` cycles.
    """
    if not len(bits):
        return []
    on = works_of(bits, unit, tile).astype(np.int8)
    steps = np.diff(on, prepend=0, append=0)
    starts = cycles[np.flatnonzero(steps[:-1] == 1)].astype(np.int64)
    # A bit that is still set at the end of the trace is set for one more cycle.
    ends = np.append(cycles, cycles[-1] + np.uint64(1))
    stops = ends[np.flatnonzero(steps == -1)].astype(np.int64)
    if not len(starts):
        return []
    breaks = np.flatnonzero(starts[1:] - stops[:-1] >= join)
    first, last = np.append(0, breaks + 1), np.append(breaks, len(starts) - 1)
    active = np.append(0, np.cumsum(stops - starts))
    return [
        Interval(int(starts[a]), int(stops[b]), int(active[b + 1] - active[a]))
        for a, b in zip(first, last, strict=True)
    ]


def operators(cycles, bits):
    """Return an `Interval` with ``op`` for each operator that ran, in order."""
    found, begun, current = [], None, None
    for cycle, word in zip(cycles.tolist(), bits.tolist(), strict=True):
        op = word >> OP_SHIFT & (1 << OP_WIDTH) - 1 if word >> RUNNING_BIT & 1 else None
        if op == current:
            continue
        if current is not None:
            found.append(Interval(begun, cycle, cycle - begun, current))
        begun, current = cycle, op
    return found


def timeline(cycles, bits, names, tiles=1):
    """Return the trace as a dict of Chrome's trace format; a cycle is shown as a microsecond.

    Parameters
    ----------
    cycles, bits : uint64 arrays
        From `read_units`.
    names : sequence of str
        Names of the operators by op_id.
    tiles : int
        Tiles of the chip; the units of those from 1 have tracks of their own.
    """
    tracks = {"operator": operators(cycles, bits)}
    for unit in UNITS:
        tracks[unit] = intervals(cycles, bits, unit)
        for tile in range(1, tiles if unit in TILE_UNITS else 1):
            tracks[f"{unit} {tile}"] = intervals(cycles, bits, unit, tile)
    events = [
        {"ph": "M", "name": "process_name", "pid": 1, "args": {"name": "Serrano (1 us: a cycle)"}}
    ]
    for tid, (track, found) in enumerate(tracks.items(), start=1):
        about = {"pid": 1, "tid": tid}
        events.append({"ph": "M", "name": "thread_name", **about, "args": {"name": track}})
        events.append({
            "ph": "M",
            "name": "thread_sort_index",
            **about,
            "args": {"sort_index": tid},
        })
        for one in found:
            name = names[one.op] if track == "operator" and one.op < len(names) else track
            events.append({
                "ph": "X",
                "name": name,
                **about,
                "ts": one.start,
                "dur": one.cycles,
                "args": {"active cycles": one.active},
            })
    return {"traceEvents": events, "displayTimeUnit": "ns"}


def write_timeline(path, out, names, tiles=1):
    """Write the units' trace ``path`` as JSON to ``out``; return ``out``."""
    Path(out).write_text(json.dumps(timeline(*read_units(path), names, tiles)))
    return out
