"""Exponents of V: held for all positions, with their running maximum."""

from amaranth.hdl import Cat, Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from .spec.formats import BLOCK_LEN, EXP_WIDTH

__all__ = ["ValueExponents"]

_EXP = unsigned(EXP_WIDTH)


class ValueExponents(wiring.Component):
    """Load the exponents of one KV head's values, and find the largest that each row sees.

    `numerics.md` 3.2 step 8: a row at position t sees those up to t, so that the maximum depends
    on t alone. There are two halves of exponents, and four banks of maxima, of max_rows / 2 rows
    each; a head with more rows has an even bank and the one behind it. Half n takes the exponents
    of the banks n and n + 2: the maxima of the head before stay while its results drain.

    Parameters
    ----------
    config : ArchConfig

    Members
    -------
    start : In(1)
        Begin to take words. Those below must hold while ``busy``.
    bank : In(2)
        Bank of the maxima, and half of the exponents.
    pos_blocks, head_blocks : In
        Blocks of 32 positions; blocks of 32 elements in a head.
    first_pos, rows : In
        Position of row 0; number of rows.
    i_words : In(stream of cols bytes)
        Exponents, an unsigned byte for each position, block of the head by block.
    read_half, read_block, read_pos_block, read : read port
        Exponents of 32 positions, one cycle later.
    feed_block, feed_row, feed_max and drain_en, drain_block, drain_row, drain_max : read ports
        The maximum for a row, one cycle later. Rows of bank n are those from n * max_rows / 2.
    busy : Out(1)
        Words are yet to be taken; high with ``start`` already. Read ports count when it is low.

    Timing
    ------
    A word takes a cycle, and a row one more in each block of the head. The first word is taken in
    the cycle after ``start``.
    """

    def __init__(self, config):
        self.config = config
        row = range(2 * config.max_rows)
        super().__init__({
            "start": In(1),
            "bank": In(2),
            "pos_blocks": In(range(config.max_context // BLOCK_LEN + 1)),
            "head_blocks": In(4),
            "first_pos": In(range(config.max_context)),
            "rows": In(range(config.max_rows + 1)),
            "i_words": In(stream.Signature(data.ArrayLayout(signed(8), config.cols))),
            "read_half": In(1),
            "read_block": In(4),
            "read_pos_block": In(10),
            "read": Out(data.ArrayLayout(_EXP, BLOCK_LEN)),
            "feed_block": In(4),
            "feed_row": In(row),
            "feed_max": Out(_EXP),
            "drain_en": In(1),
            "drain_block": In(4),
            "drain_row": In(row),
            "drain_max": Out(_EXP),
            "busy": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        cfg = self.config
        head_blocks = cfg.max_head_dim // BLOCK_LEN
        spans = cfg.max_context // BLOCK_LEN
        block_bits, span_bits = (head_blocks - 1).bit_length(), (spans - 1).bit_length()
        part = data.ArrayLayout(_EXP, cfg.cols)

        m.submodules.words = words = memory.Memory(
            shape=data.ArrayLayout(_EXP, BLOCK_LEN), depth=2 << (block_bits + span_bits), init=[]
        )
        m.submodules.maxima = maxima = memory.Memory(
            shape=_EXP, depth=2 * cfg.max_rows << block_bits, init=[]
        )
        write = words.write_port(granularity=cfg.cols)
        read = words.read_port()
        max_write, feed, drain = maxima.write_port(), maxima.read_port(), maxima.read_port()
        m.d.comb += [
            read.addr.eq(
                Cat(self.read_pos_block[:span_bits], self.read_block[:block_bits], self.read_half)
            ),
            self.read.eq(read.data),
            feed.addr.eq(Cat(self.feed_row, self.feed_block[:block_bits])),
            self.feed_max.eq(feed.data),
            drain.en.eq(self.drain_en),
            drain.addr.eq(Cat(self.drain_row, self.drain_block[:block_bits])),
            self.drain_max.eq(drain.data),
        ]

        block = Signal(4)
        pos = Signal(range(cfg.max_context + 1))  # of the word's first element
        end = Signal(range(cfg.max_context + 1))
        running = Signal(_EXP)
        lane = Signal(range(cfg.cols))
        held = Signal(part)
        taken = Signal(part)
        ahead = Signal(range(-cfg.max_context, cfg.max_context))  # elements before the first row's
        for number in range(cfg.cols):
            m.d.comb += taken[number].eq(self.i_words.payload[number].as_unsigned()[:EXP_WIDTH])

        m.d.comb += [
            end.eq(self.pos_blocks << exact_log2(BLOCK_LEN)),
            write.addr.eq(
                Cat(pos[exact_log2(BLOCK_LEN) :][:span_bits], block[:block_bits], self.bank[0])
            ),
            ahead.eq(self.first_pos - pos),
        ]
        for number in range(cfg.subs):
            for index in range(cfg.cols):
                m.d.comb += write.data[number * cfg.cols + index].eq(taken[index])

        largest = [running, *(Mux(n < ahead, exp, 0) for n, exp in enumerate(taken))]
        while len(largest) > 1:
            pairs = [Mux(a > b, a, b) for a, b in zip(largest[::2], largest[1::2], strict=False)]
            largest = pairs + (largest[-1:] if len(largest) % 2 else [])

        def next_word():
            m.d.sync += pos.eq(pos + cfg.cols)
            m.next = "TAKE"
            with m.If(pos + cfg.cols == end):
                m.d.sync += [pos.eq(0), block.eq(block + 1), running.eq(0)]
                with m.If(block == self.head_blocks - 1):
                    m.next = "IDLE"

        row = Signal(range(cfg.max_context + 1))
        bank_row = Signal(range(2 * cfg.max_rows))
        m.d.comb += [
            row.eq(lane - ahead),
            bank_row.eq(self.bank * (cfg.max_rows // 2) + row),
            max_write.addr.eq(Cat(bank_row, block[:block_bits])),
            self.busy.eq(1),
        ]
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += self.busy.eq(self.start)
                m.d.sync += [block.eq(0), pos.eq(0), running.eq(0)]
                with m.If(self.start):
                    m.next = "TAKE"
            with m.State("TAKE"):
                m.d.comb += self.i_words.ready.eq(1)
                with m.If(self.i_words.valid):
                    place = pos[: exact_log2(BLOCK_LEN)] >> exact_log2(cfg.cols)
                    m.d.comb += write.en.eq(1 << place)
                    m.d.sync += [
                        held.eq(taken),
                        running.eq(largest[0]),
                        lane.eq(Mux(ahead > 0, ahead, 0)),
                    ]
                    with m.If((ahead >= cfg.cols) | (ahead + self.rows <= 0)):
                        next_word()
                    with m.Else():
                        m.next = "WALK"
            with m.State("WALK"):
                # One position at a time: a row ends at each.
                larger = Signal(_EXP)
                m.d.comb += [
                    larger.eq(Mux(held[lane] > running, held[lane], running)),
                    max_write.data.eq(larger),
                    max_write.en.eq(1),
                ]
                m.d.sync += [running.eq(larger), lane.eq(lane + 1)]
                with m.If((lane == cfg.cols - 1) | (row == self.rows - 1)):
                    next_word()
        return m
