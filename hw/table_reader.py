"""Turns words of the stream into table entries."""

from amaranth.hdl import Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from .lib.gearbox import Gearbox
from .lib.slice import Slice
from .spec.isa import MAX_TABLE_WORDS

__all__ = ["TableReader"]


class TableReader(wiring.Component):
    """Join words of ``cols`` bytes to entries of ``2 * lanes`` bytes: gains, tables, headers.

    Parameters
    ----------
    config : ArchConfig

    Members
    -------
    start : In(1)
        Take ``rows`` times ``words`` words from ``i_words``. Only while not ``busy``.
    words, rows : In
        Words of a row, rows: neither is 0, a row makes whole entries. Must hold while ``busy``.
    i_words : In(stream of cols bytes)
        The weight stream. No word is taken but those that were asked for.
    i_header : In(stream of cols bytes)
        Words of a strip's header, which `Matmul` has counted; none is taken while ``busy``, but
        for one with ``start``.
    o_entry : Out(stream of 2 * lanes bytes)
        Entries, whatever they came from.
    busy : Out(1)
        Words are yet to be taken; high with ``start`` already.

    Timing
    ------
    The first word is taken in the cycle after ``start``. Then as `Gearbox`: the wider of word and
    entry at its full rate, the first entry three cycles after its last word. ``i_words.ready`` and
    ``i_header.ready`` come from registers.
    """

    def __init__(self, config):
        self.config = config
        word = data.ArrayLayout(signed(8), config.cols)
        super().__init__({
            "start": In(1),
            "words": In(range(MAX_TABLE_WORDS + 1)),
            "rows": In(range(config.max_rows + 1)),
            "i_words": In(stream.Signature(word)),
            "i_header": In(stream.Signature(word)),
            "o_entry": Out(stream.Signature(data.ArrayLayout(unsigned(8), config.entry_bytes))),
            "busy": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.gearbox = gearbox = Gearbox(
            i_bytes=self.config.cols, o_bytes=self.config.entry_bytes
        )
        # Between the readiness of those who take entries and that of the stream.
        m.submodules.arriving = arriving = Slice(self.i_words.payload.shape())
        m.submodules.leaving = leaving = Slice(self.o_entry.payload.shape())
        connect(m, arriving.o, gearbox.i)
        connect(m, gearbox.o, leaving.i)
        connect(m, leaving.o, flipped(self.o_entry))
        taking = Signal()
        word, row = Signal.like(self.words), Signal.like(self.rows)
        last_word, last_row = Signal.like(self.words), Signal.like(self.rows)
        m.d.sync += [last_word.eq(self.words - 1), last_row.eq(self.rows - 1)]
        m.d.comb += [
            self.busy.eq(self.start | taking),
            self.i_words.ready.eq(arriving.i.ready & taking),
            self.i_header.ready.eq(arriving.i.ready & ~taking),
            arriving.i.payload.eq(Mux(taking, self.i_words.payload, self.i_header.payload)),
            arriving.i.valid.eq(Mux(taking, self.i_words.valid, self.i_header.valid)),
        ]
        with m.If(self.start):
            m.d.sync += [taking.eq(1), word.eq(0), row.eq(0)]
        with m.If(self.i_words.valid & self.i_words.ready):
            m.d.sync += word.eq(word + 1)
            with m.If(word == last_word):
                m.d.sync += [word.eq(0), row.eq(row + 1)]
                with m.If(row == last_row):
                    m.d.sync += taking.eq(0)
        return m
