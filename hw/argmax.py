"""Greedy choice of a token: the largest logit of each row."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out

from .lib.parameter import check_lanes, check_positive, check_power_of_two
from .lib.pipeline import Pipeline
from .spec.formats import RESIDUAL_WIDTH

__all__ = ["ArgMax", "logits_layout"]


def logits_layout(*, lanes, max_rows, max_vocab):
    """Return the layout of a beat of logits."""
    return data.StructLayout({
        "data": data.ArrayLayout(signed(RESIDUAL_WIDTH), lanes),
        "row": range(max_rows),
        "index": range(max_vocab),
        "first": unsigned(1),
        "valid_count": range(max_vocab + 1),
    })


class ArgMax(wiring.Component):
    """Find the largest logit of each row, of equal ones the first: ``sim.golden.argmax.argmax``.

    Parameters
    ----------
    lanes : int
        Elements of a beat.
    max_rows : int
        Rows that are searched side by side. A power of two.
    max_vocab : int
        Logits of a row, at most.

    Members
    -------
    i_logits : In(stream of logits_layout)
        Beats, in rising order of ``index`` for each row. ``index``: that of lane 0, a multiple of
        ``lanes``. ``first``: the row's search starts anew. Logits whose index is ``valid_count``
        or more are ignored.
    result_row : In(range(max_rows))
        Row whose result is wanted.
    result_index, result_value : Out
        Index and value of the largest logit of the row that ``result_row`` named in the last
        cycle; both 0 if it had no valid logit.
    busy : Out(1)
        Beats are inside that the results do not show yet.

    Timing
    ------
    Takes a beat every cycle, whatever its row. Its effect may be asked for ``latency``
    cycles later.

    Raises
    ------
    TypeError, ValueError
        For a parameter that is not as above.
    """

    def __init__(self, *, lanes, max_rows, max_vocab=1 << 20):
        check_lanes(lanes)
        check_power_of_two("max_rows", max_rows, least=2)
        check_positive("max_vocab", max_vocab)
        if max_vocab < lanes:
            raise ValueError(f"max_vocab must be lanes ({lanes}) at least, not {max_vocab!r}")
        self.lanes = lanes
        self.max_rows = max_rows
        self.max_vocab = max_vocab
        sizes = {"lanes": lanes, "max_rows": max_rows, "max_vocab": max_vocab}
        super().__init__({
            "i_logits": In(stream.Signature(logits_layout(**sizes))),
            "result_row": In(range(max_rows)),
            "result_index": Out(range(max_vocab)),
            "result_value": Out(signed(RESIDUAL_WIDTH)),
            "busy": Out(1),
        })

    @property
    def latency(self):
        """Cycles from a transfer to that in which ``result_row`` may ask for it."""
        return 2 + self._lane_width

    @property
    def _lane_width(self):
        return (self.lanes - 1).bit_length()

    def elaborate(self, platform):
        m = Module()
        best = data.StructLayout({
            "value": signed(RESIDUAL_WIDTH),
            "index": range(self.max_vocab),
            "found": unsigned(1),
        })
        entry = data.StructLayout({
            "value": signed(RESIDUAL_WIDTH),
            "lane": unsigned(self._lane_width),
            "found": unsigned(1),
        })
        m.submodules.bests = bests = memory.Memory(shape=best, depth=self.max_rows, init=[])
        write = bests.write_port()
        # The best so far is there when the next beat of the same row reads it.
        read = bests.read_port(transparent_for=[write])
        result = bests.read_port(transparent_for=[write])
        pipe = Pipeline(m)
        logits = self.i_logits.p
        m.d.comb += self.i_logits.ready.eq(1)

        # Count the lanes that are valid, all or fewer.
        remaining = Signal(signed(len(logits.valid_count) + 2))
        m.d.comb += remaining.eq(logits.valid_count - logits.index)
        values = pipe.hold(logits.data, "counted_data")
        count = pipe.hold(
            Mux(remaining < 0, 0, Mux(remaining > self.lanes, self.lanes, remaining)),
            "counted",
            range(self.lanes + 1),
        )
        valids = [pipe.valid(self.i_logits.valid, "counted_valid")]
        side = Cat(logits.first, logits.row, logits.index)
        side = pipe.hold(side, "counted_side")

        # Mark them.
        entries = []
        for lane, value in enumerate(values):
            marked = pipe.hold(
                Cat(value, Const(lane, self._lane_width), lane < count), f"lane_{lane}"
            )
            entries.append(marked)
        valids.append(pipe.valid(valids[-1], "marked_valid"))
        side = pipe.hold(side, "marked_side")

        # Compare them in pairs; the left one has the lower index.
        def larger(left, right):
            a, b = data.View(entry, left), data.View(entry, right)
            return Mux(b.found & (~a.found | (b.value > a.value)), right, left)

        winner, levels = pipe.tree(entries, larger, "winner")
        for level in range(levels):
            valids.append(pipe.valid(valids[-1], f"winner_valid_{level}"))
            previous = side
            side = pipe.hold(side, f"winner_side_{level}")
        winner = data.View(entry, winner)

        # Compare with the best so far.
        row_width = len(self.result_row)
        first, row, index = side[0], side[1 : 1 + row_width], side[1 + row_width :]
        stored = read.data
        known = Signal()
        better = Signal()
        challenger = Signal(best)
        m.d.comb += [
            read.addr.eq(previous[1 : 1 + row_width]),
            known.eq(stored.found & ~first),
            better.eq(winner.found & (~known | (winner.value > stored.value))),
            challenger.value.eq(winner.value),
            challenger.index.eq(index | winner.lane),
            challenger.found.eq(1),
            write.en.eq(valids[-1] & (better | first)),
            write.addr.eq(row),
            write.data.eq(Mux(better, challenger.as_value(), 0)),
            result.addr.eq(self.result_row),
            self.result_index.eq(result.data.index),
            self.result_value.eq(result.data.value),
            self.busy.eq(Cat(valids).any()),
        ]
        return m
