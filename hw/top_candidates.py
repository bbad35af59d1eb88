"""The largest logits of each row, sorted."""

from amaranth.hdl import Array, Cat, Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped
from amaranth.utils import exact_log2

from .lib.parameter import check_lanes, check_positive, check_power_of_two
from .lib.pipeline import Pipeline
from .lib.slice import Slice
from .spec.formats import RESIDUAL_WIDTH

__all__ = ["TopCandidates", "candidate_layout", "logits_layout"]

_GROUP = 4  # entries of a list that are stored and loaded at once


def logits_layout(*, lanes, max_rows, max_vocab):
    """Return the layout of a beat of logits."""
    return data.StructLayout({
        "data": data.ArrayLayout(signed(RESIDUAL_WIDTH), lanes),
        "row": range(max_rows),
        "index": range(max_vocab),
        "first": unsigned(1),
        "valid_count": range(max_vocab + 1),
    })


def candidate_layout(*, max_rows, max_vocab, list_len):
    """Return the layout of an entry of a row's list."""
    return data.StructLayout({
        "row": range(max_rows),
        "rank": range(list_len),
        "found": unsigned(1),
        "value": signed(RESIDUAL_WIDTH),
        "index": range(max_vocab),
        "last": unsigned(1),
    })


def _entry_layout(max_vocab):
    return data.StructLayout({
        "value": signed(RESIDUAL_WIDTH),
        "found": unsigned(1),
        "index": range(max_vocab),
    })


def _beats(value, entry):
    """Whether a new logit goes before an entry. Of equal ones the entry came first."""
    return ~entry.found | (value > entry.value)


class TopCandidates(wiring.Component):
    """Keep a list of each row's largest logits: ``sim.golden.sampler.top_candidates``.

    The list of one row lies in registers, where a logit finds its place in one cycle; the others
    lie in a memory. A beat none of whose logits is larger than the last of its row's list passes
    without any of this.

    Parameters
    ----------
    lanes : int
        Elements of a beat.
    max_rows : int
        Rows that have a list. A power of two.
    list_len : int
        Entries of a list. A power of two from 8.
    max_vocab : int
        Logits of a row, at most.

    Members
    -------
    i_logits : In(stream of logits_layout)
        Beats, in rising order of ``index`` for each row. ``index``: that of lane 0, a multiple of
        ``lanes``. ``first``: the row's list starts anew. Logits whose index is ``valid_count`` or
        more are ignored.
    i_read : In(stream of {row, count: range(list_len + 1)})
        Asks for the first ``count`` (at least 1) entries of a row's list. Taken when no beat is
        inside; no beat is taken until its last entry is.
    o_candidate : Out(stream of candidate_layout)
        The entries asked for, the largest logit first, of equal ones that with the lowest index.
        ``rank``: place in the list from 0. An entry beyond the row's valid logits has ``found``,
        ``value`` and ``index`` 0. ``last``: the last of the request.
    busy : Out(1)
        Beats are inside that the lists do not show yet.

    Timing
    ------
    Takes a beat every cycle. A beat with n logits larger than the last of its list holds up those
    after it for ``2 * n + HIT_CYCLES`` cycles, and for ``switch_cycles`` more if it is the row's
    first or the beat before it of this kind was another row's. Entries of a list are offered one
    a cycle, the first ``READ_LATENCY`` cycles after the request, or ``switch_cycles`` later if it
    was for the row of the last beat that changed a list.

    Raises
    ------
    TypeError, ValueError
        For a parameter that is not as above.
    """

    #: Cycles for which a beat that changes a list holds up the next, beside two for each logit.
    HIT_CYCLES = 3

    #: Cycles from a transfer on ``i_read`` to the offer of the first entry.
    READ_LATENCY = 2 + Slice.LATENCY

    def __init__(self, *, lanes, max_rows, list_len, max_vocab=1 << 20):
        check_lanes(lanes)
        check_power_of_two("max_rows", max_rows, least=2)
        check_power_of_two("list_len", list_len, least=2 * _GROUP)
        check_positive("max_vocab", max_vocab)
        if max_vocab < lanes:
            raise ValueError(f"max_vocab must be lanes ({lanes}) at least, not {max_vocab!r}")
        self.lanes = lanes
        self.max_rows = max_rows
        self.list_len = list_len
        self.max_vocab = max_vocab
        sizes = {"max_rows": max_rows, "max_vocab": max_vocab}
        read = data.StructLayout({"row": range(max_rows), "count": range(list_len + 1)})
        super().__init__({
            "i_logits": In(stream.Signature(logits_layout(lanes=lanes, **sizes))),
            "i_read": In(stream.Signature(read)),
            "o_candidate": Out(stream.Signature(candidate_layout(list_len=list_len, **sizes))),
            "busy": Out(1),
        })

    @property
    def switch_cycles(self):
        """Cycles in which one row's list is stored and another's loaded."""
        return self.list_len // _GROUP + 1

    def elaborate(self, platform):
        m = Module()
        entry = _entry_layout(self.max_vocab)
        words = self.list_len // _GROUP
        row_shape = range(self.max_rows)
        # Between those who give logits and the registers that all wait for a list.
        m.submodules.arriving = arriving = Slice(self.i_logits.payload.shape())
        connect(m, flipped(self.i_logits), arriving.i)
        logits = arriving.o.p

        # The list in registers, and whose it is.
        entries = [Signal(entry, name=f"entry_{rank}") for rank in range(self.list_len)]
        list_row = Signal(row_shape)

        # The other lists, and the last entry of each.
        m.submodules.lists = lists = memory.Memory(
            shape=data.ArrayLayout(entry, _GROUP), depth=self.max_rows * words, init=[]
        )
        store, load = lists.write_port(), lists.read_port()
        m.submodules.lasts = lasts = memory.Memory(shape=entry, depth=self.max_rows, init=[])
        store_last, load_last = lasts.write_port(), lasts.read_port()

        # A beat waits here until no list is being changed, so what it is compared with is exact.
        changes = Signal()
        advance = Signal()
        hits = Signal(self.lanes)  # of the beat that was compared
        compared_valid = Signal()
        is_first = Signal()  # its list starts anew, whatever is in the beat
        hit = compared_valid & (is_first | hits.any())
        # One that was found to change its list holds up those after it before it does.
        m.d.comb += [advance.eq(~changes & ~hit), arriving.o.ready.eq(advance)]
        pipe = Pipeline(m, advance)

        # Count the lanes that are valid, all or fewer.
        remaining = Signal(signed(len(logits.valid_count) + 2))
        m.d.comb += remaining.eq(logits.valid_count - logits.index)
        side_shape = data.StructLayout({
            "data": logits.data.shape(),
            "row": row_shape,
            "index": range(self.max_vocab),
            "first": unsigned(1),
        })
        side = Signal(side_shape)
        m.d.comb += [side[name].eq(logits[name]) for name, _ in side_shape]
        counted = pipe.hold(side, "counted", side_shape)
        count = pipe.hold(
            Mux(remaining < 0, 0, Mux(remaining > self.lanes, self.lanes, remaining)),
            "count",
            range(self.lanes + 1),
        )
        counted_valid = pipe.valid(arriving.o.valid, "counted_valid")

        # Mark them, and read the last entry of the row's list, again while the beat waits.
        marked = pipe.hold(counted, "marked", side_shape)
        marks = pipe.holds((lane < count for lane in range(self.lanes)), "mark")
        marked_valid = pipe.valid(counted_valid, "marked_valid")
        m.d.comb += load_last.addr.eq(Mux(advance, counted.row, marked.row))

        # Compare them with it.
        # Both that it may be are compared: choosing first would be slower.
        here = marked.row == list_row
        found = [
            mark
            & (marked.first | Mux(here, _beats(value, entries[-1]), _beats(value, load_last.data)))
            for mark, value in zip(marks, marked.data, strict=True)
        ]
        compared = pipe.hold(marked, "compared", side_shape)
        change = Signal(side_shape)
        change_hits = Signal(self.lanes)
        with m.If(advance):
            m.d.sync += [
                hits.eq(Cat(found)),
                is_first.eq(marked.first),
                compared_valid.eq(marked_valid),
            ]
        with m.Elif(hit):
            m.d.sync += [
                changes.eq(1),
                compared_valid.eq(0),
                change.eq(compared),
                change_hits.eq(hits),
            ]

        # Put the larger ones into the list, one after the other: compare in a cycle, move in the
        # next.
        logit = Signal(entry)
        logit_valid = Signal()
        moves = Signal()
        better = Signal(self.list_len)
        m.d.sync += [
            better.eq(Cat(_beats(logit.value, old) for old in entries)),
            moves.eq(logit_valid),
        ]
        with m.If(moves):
            m.d.sync += entries[0].eq(Mux(better[0], logit, entries[0]))
            for rank in range(1, self.list_len):
                with m.If(better[rank]):
                    m.d.sync += entries[rank].eq(Mux(better[rank - 1], entries[rank - 1], logit))
        m.d.sync += logit_valid.eq(0)

        # Store the list, and shift in its place what is loaded, nothing, or itself.
        word = Signal(range(words + 1))
        shifted_in = Signal(data.ArrayLayout(entry, _GROUP))

        def shift():
            m.d.sync += word.eq(word + 1)
            for rank in range(self.list_len - _GROUP):
                m.d.sync += entries[rank].eq(entries[rank + _GROUP])
            for place in range(_GROUP):
                m.d.sync += entries[place - _GROUP].eq(shifted_in[place])

        request = Signal(self.i_read.p.shape())
        rank = Signal(range(self.list_len + 1))
        offered = Signal()
        # Those who take candidates are several, and far.
        m.submodules.leaving = leaving = Slice(self.o_candidate.p.shape())
        connect(m, leaving.o, flipped(self.o_candidate))
        candidate = leaving.i.p
        m.d.comb += [
            store.addr.eq(list_row * words + word),
            load.addr.eq(change.row * words + word),
            store_last.addr.eq(list_row),
            store_last.data.eq(entries[-1]),
            self.busy.eq(
                arriving.o.valid | counted_valid | marked_valid | compared_valid | changes
            ),
        ]
        for place in range(_GROUP):
            m.d.comb += store.data[place].eq(entries[place])

        with m.FSM():
            with m.State("SEARCH"):
                m.d.sync += [word.eq(0), rank.eq(0)]
                with m.If(changes):
                    with m.If(change.first | (change.row != list_row)):
                        m.next = "SWITCH"
                    with m.Else():
                        m.next = "INSERT"
                with m.Elif(~self.busy):
                    m.d.comb += self.i_read.ready.eq(1)
                    m.d.sync += request.eq(self.i_read.p)
                    with m.If(self.i_read.valid):
                        m.next = "READ"
                        with m.If(self.i_read.p.row == list_row):
                            m.next = "STORE"
            with m.State("SWITCH"):
                m.d.comb += [
                    shifted_in.eq(Mux(change.first, 0, load.data)),
                    store.en.eq(word != words),
                    store_last.en.eq(word == 0),
                ]
                shift()
                with m.If(word == words):
                    m.d.sync += list_row.eq(change.row)
                    m.next = "INSERT"
            with m.State("INSERT"):
                with m.If(~logit_valid):  # it holds until the list has moved
                    m.d.sync += [
                        logit.value.eq(change.data[0]),
                        logit.index.eq(change.index),
                        logit.found.eq(1),
                        logit_valid.eq(change_hits.any()),
                        change_hits.eq(change_hits & (change_hits - 1)),
                    ]
                    for lane in reversed(range(self.lanes)):
                        with m.If(change_hits[lane]):
                            m.d.sync += [
                                logit.value.eq(change.data[lane]),
                                logit.index.eq(change.index | lane),
                            ]
                with m.If(~change_hits.any() & ~logit_valid):
                    m.d.sync += changes.eq(0)
                    m.next = "SEARCH"
            with m.State("STORE"):
                for place in range(_GROUP):
                    m.d.comb += shifted_in[place].eq(entries[place])
                m.d.comb += store.en.eq(1)
                shift()
                with m.If(word == words - 1):
                    m.next = "READ"
            with m.State("READ"):
                # The word that was read stays while its entry is on offer.
                reads = Signal()
                m.d.comb += [
                    reads.eq(~offered | leaving.i.ready),
                    load.en.eq(reads),
                    load.addr.eq(request.row * words + (rank >> exact_log2(_GROUP))),
                    leaving.i.valid.eq(offered),
                ]
                with m.If(reads):
                    m.d.sync += [
                        offered.eq(rank != request.count),
                        candidate.rank.eq(rank),
                        candidate.last.eq(rank == request.count - 1),
                    ]
                    with m.If(rank != request.count):
                        m.d.sync += rank.eq(rank + 1)
                    with m.Else():
                        m.next = "SEARCH"
        chosen = Signal(entry)
        m.d.comb += [
            chosen.eq(Array(load.data)[candidate.rank[: exact_log2(_GROUP)]]),
            candidate.row.eq(request.row),
            candidate.found.eq(chosen.found),
            candidate.value.eq(chosen.value),
            candidate.index.eq(chosen.index),
        ]
        return m
