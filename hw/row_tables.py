"""Operators that fetch a table row for each row of the pass: embedding and rope."""

from amaranth.hdl import Cat, Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from .embedding import Embedding
from .operator_word import operator_layout
from .residual import residual_write_layout
from .spec.formats import ROPE_WIDTH
from .weight_streamer import descriptor_layout

__all__ = ["RowTables"]


class RowTables(wiring.Component):
    """Run ``embed`` and ``rope``: one descriptor and one table row for each row of the pass.

    An embedding of tokens is stored in the residual, one of positions is added to what is there.

    Parameters
    ----------
    config : ArchConfig

    Members
    -------
    start : In(1)
        Begin. ``is_rope``, ``word`` and ``rows`` must hold while ``busy``.
    is_rope : In(1)
        The operator is ``rope``: rows by position. Otherwise ``embed``: rows by token, or with the
        word's ``positions`` by position.
    word : In(operator_layout("embed"))
        Also a ``rope`` word, whose fields lie in the same places as far as it has them. ``words``
        is below 2**16, and ``valid`` below 2**24.
    rows : In
        Rows of the pass.
    row, position, token : Out, In, In(32)
        Position and token of a row, one cycle after its number. A token, or of a table of positions
        a position, must be below the word's ``valid``.
    o_descriptor : Out(stream of descriptor_layout)
    issuing : Out(1)
        Descriptors are yet to come.
    i_entry : In(stream of 2 * lanes bytes)
        Entries of the table rows.
    o_residual : Out(stream of residual_write_layout)
    table_en, table_row, table_addr, table_entry : to `QkvProjection`
        Entries of the rope table.
    bad_token, bad_position : Out(1)
        High for one cycle, with ``token`` or ``position``: an ``embed`` got what its table has no
        row for. Nothing is fetched for it, and nothing moves until reset.
    busy : Out(1)
        High with ``start`` already, until the last entry is taken and written.
    starved : Out(1)
        An entry is wanted and none is on offer.

    Timing
    ------
    A descriptor every five cycles, the first on offer five cycles after ``start``. An entry
    each cycle; an embedding's entry holds two beats and takes two.
    """

    def __init__(self, config):
        self.config = config
        rows = range(config.max_rows)
        self.entry = data.ArrayLayout(unsigned(8), config.entry_bytes)
        self.residual = residual_write_layout(
            lanes=config.lanes, max_dim=config.max_dim, max_rows=config.max_rows
        )
        super().__init__({
            "start": In(1),
            "is_rope": In(1),
            "word": In(operator_layout("embed")),
            "row": Out(rows),
            "position": In(range(config.max_context)),
            "rows": In(range(config.max_rows + 1)),
            "token": In(32),
            "o_descriptor": Out(stream.Signature(descriptor_layout())),
            "issuing": Out(1),
            "i_entry": In(stream.Signature(self.entry)),
            "o_residual": Out(stream.Signature(self.residual)),
            "table_en": Out(1),
            "table_row": Out(rows),
            "table_addr": Out(range(config.max_head_dim // config.lanes)),
            "table_entry": Out(data.ArrayLayout(signed(ROPE_WIDTH), config.lanes)),
            "bad_token": Out(1),
            "bad_position": Out(1),
            "busy": Out(1),
            "starved": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        taking = Signal()
        self._descriptors(m)
        self._entries(m, taking)
        m.d.comb += self.busy.eq(self.start | self.issuing | taking)
        return m

    def _descriptors(self, m):
        cfg = self.config
        row = Signal(range(cfg.max_rows + 1))
        offset = Signal(32)
        index = Signal(32)  # of the table's row
        outside = Signal()
        known = Signal.like(index)
        parts = [Signal(32, name=f"offset_part_{n}") for n in range(2)]
        m.d.comb += [
            self.row.eq(row),
            index.eq(Mux(self.is_rope | self.word.positions, self.position, self.token)),
            outside.eq(~self.is_rope & (known >= self.word.valid)),
            self.o_descriptor.p.words.eq(self.word.words),
            self.o_descriptor.p.addr.eq(self.word.addr + (offset << exact_log2(cfg.cols))),
            self.issuing.eq(1),
        ]
        with m.FSM(name="descriptors"):
            with m.State("IDLE"):
                m.d.comb += self.issuing.eq(self.start)
                m.d.sync += row.eq(0)
                with m.If(self.start):
                    m.next = "LOOK_UP"
            with m.State("LOOK_UP"):
                m.next = "PLACE"
            with m.State("PLACE"):
                m.d.sync += known.eq(index)
                m.next = "MULTIPLY"
            with m.State("MULTIPLY"):
                words = self.word.words[:16]  # `MAX_TABLE_WORDS`
                m.d.sync += [parts[0].eq(known[:16] * words), parts[1].eq(known[16:24] * words)]
                m.next = "ADD"
                with m.If(outside):
                    m.d.comb += [
                        self.bad_token.eq(~self.word.positions),
                        self.bad_position.eq(self.word.positions),
                    ]
                    m.next = "REFUSED"
            with m.State("ADD"):
                m.d.sync += offset.eq(parts[0] + (parts[1] << 16))
                m.next = "OFFER"
            with m.State("REFUSED"):
                pass  # until the chip stops, which the trap brings about
            with m.State("OFFER"):
                m.d.comb += self.o_descriptor.valid.eq(1)
                with m.If(self.o_descriptor.ready):
                    m.d.sync += row.eq(row + 1)
                    m.next = "LOOK_UP"
                    with m.If(row == self.rows - 1):
                        m.next = "IDLE"

    def _entries(self, m, taking):
        cfg = self.config
        meta = data.StructLayout({"row": range(cfg.max_rows), "beat": unsigned(16)})
        m.submodules.embedding = embedding = Embedding(lanes=cfg.lanes, meta_shape=meta)
        row = Signal(range(cfg.max_rows + 1))
        count = Signal(16)  # entries of this table row taken
        following = Signal(16, init=1)  # one more
        # What the number of the entry that comes next says: found when the one before is taken.
        is_first, in_table, is_last = (
            Signal(name=name) for name in ("is_first", "in_table", "is_last")
        )
        at_once = Signal()  # it gives nothing to the embedding
        row_ends = Signal()
        # Of the word, a cycle after `start`: the last entry, those with elements and half of them.
        last_entry = Signal(16)
        last_row = Signal(range(cfg.max_rows))
        used, used_half = Signal(16), Signal(16)
        high = Signal()  # second beat of an embedding's entry
        multiplier = Signal(16)
        entry = self.i_entry.payload
        ratio = exact_log2(cfg.entry_bytes) - exact_log2(cfg.cols)
        # entry_bytes is at least 2 * 4 and cols at least 4: never more than 8 words narrower.
        total = Signal(16)
        m.d.comb += total.eq(self.word.words >> ratio if ratio >= 0 else self.word.words << -ratio)
        m.d.sync += [
            last_entry.eq(total - 1),
            last_row.eq(self.rows - 1),
            used.eq(self.word.blocks << exact_log2(cfg.beats)),
            used_half.eq((self.word.blocks << exact_log2(cfg.beats)) >> 1),
        ]

        m.d.comb += [
            self.table_row.eq(row),
            self.table_addr.eq(count),
            self.table_entry.eq(entry),
            embedding.i_row.p.multiplier.eq(multiplier),
            embedding.i_row.p.shift.eq(self.word.shift),
            embedding.i_row.p.meta.row.eq(row),
            embedding.i_row.p.meta.beat.eq(Cat(high, count - 1)),
        ]
        for lane in range(cfg.lanes):
            low, upper = entry[lane], entry[cfg.lanes + lane]
            with m.If(high):
                m.d.comb += embedding.i_row.p.data[lane].eq(upper.as_signed())
            with m.Else():
                m.d.comb += embedding.i_row.p.data[lane].eq(low.as_signed())

        done = Signal()
        inside = Signal(range(32))
        with m.FSM(name="entries"):
            with m.State("IDLE"):
                m.d.sync += [row.eq(0), high.eq(0)]
                with m.If(self.start):
                    m.next = "BEGIN"
            with m.State("BEGIN"):
                m.d.comb += row_ends.eq(1)
                m.next = "TAKE"
            with m.State("TAKE"):
                m.d.comb += [
                    taking.eq(1),
                    self.starved.eq(~self.i_entry.valid),
                    done.eq(self.i_entry.valid & (at_once | (embedding.i_row.ready & high))),
                    self.i_entry.ready.eq(done),
                    self.table_en.eq(self.i_entry.valid & self.is_rope & in_table),
                    embedding.i_row.valid.eq(self.i_entry.valid & ~at_once),
                ]
                with m.If(is_first):
                    m.d.sync += multiplier.eq(Cat(entry[0], entry[1]))
                with m.If(embedding.i_row.valid & embedding.i_row.ready):
                    m.d.sync += high.eq(~high)
                with m.If(done):
                    m.d.sync += [
                        count.eq(following),
                        following.eq(following + 1),
                        is_first.eq(0),
                        in_table.eq(following < used),
                        at_once.eq(self.is_rope | (following > used_half)),
                        is_last.eq(following == last_entry),
                    ]
                    with m.If(is_last):
                        m.d.comb += row_ends.eq(1)
                        m.d.sync += row.eq(row + 1)
                        with m.If(row == last_row):
                            m.next = "FINISH"
            with m.State("FINISH"):
                m.d.comb += taking.eq(1)
                with m.If(inside == 0):
                    m.next = "IDLE"

        with m.If(row_ends):
            m.d.sync += [
                count.eq(0),
                following.eq(1),
                is_first.eq(1),
                in_table.eq(1),
                at_once.eq(1),
                is_last.eq(last_entry == 0),
            ]

        result = embedding.o_row
        write = self.o_residual
        m.d.comb += [
            write.valid.eq(result.valid),
            result.ready.eq(write.ready),
            write.p.data.eq(result.p.data),
            write.p.row.eq(result.p.meta.row),
            write.p.beat.eq(result.p.meta.beat),
            write.p.add.eq(self.word.positions),
            write.p.first.eq(result.p.meta.beat == 0),
        ]
        enters = embedding.i_row.valid & embedding.i_row.ready
        m.d.sync += inside.eq(inside + enters - (write.valid & write.ready))
