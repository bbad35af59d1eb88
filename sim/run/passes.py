"""The passes of a trace: whose rows each has, and what its operators showed."""

from dataclasses import dataclass, field

import numpy as np

from hw.probe import PROBES

__all__ = ["Place", "ShownPass", "split"]


@dataclass(frozen=True)
class Place:
    """Where a row belongs: request and position; ``cycle``: when it was put into the pass."""

    request: int
    position: int
    cycle: int


@dataclass
class ShownPass:
    """One pass.

    Members
    -------
    places : list of Place
        Of each row.
    records : dict
        Operator and kind (numbers) to the `Segment` found of them.
    """

    places: list = field(default_factory=list)
    records: dict = field(default_factory=dict)

    def rows_of(self, op, kind):
        """Return how many rows an operator showed: one more than the last."""
        return max((int(s.row.max()) + 1 for s in self.records.get((op, kind), ())), default=0)


def split(segments):
    """Return the list of `ShownPass` of a trace.

    Rows are placed before a pass, and some again if a request fails as it is put together: the
    last place of a row counts. Rows that the pass then does not have are those behind the last one
    that the first operator shows.
    """
    passes, placed, running = [], {}, False
    for segment in segments:
        if segment.kind == PROBES["place"]:
            if running:
                placed, running = {}, False
            placed |= _places(segment)
            continue
        if not running:
            running = True
            passes.append(ShownPass([placed[row] for row in sorted(placed)]))
        passes[-1].records.setdefault((segment.op, segment.kind), []).append(segment)
    for one in passes:
        shown = one.rows_of(0, PROBES["residual"])
        if shown:
            del one.places[shown:]
    return passes


def _places(segment):
    words = np.ascontiguousarray(segment.data).view("<u4")
    columns = (segment.row.tolist(), *words.T.tolist(), segment.cycle.tolist())
    return {
        row: Place(request, position, cycle)
        for row, position, request, cycle in zip(*columns, strict=True)
    }
