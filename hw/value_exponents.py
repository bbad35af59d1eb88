"""Exponents of V: held for all positions, with their running maximum."""

from amaranth.hdl import Cat, Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from .lib.collision import UNDEFINED
from .lib.pipeline import Pipeline
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
        Begin to take words. Those below count in this cycle.
    bank : In(2)
        Bank of the maxima, and half of the exponents.
    pos_blocks, head_blocks : In
        Blocks of 32 positions; blocks of 32 elements in a head.
    first_pos, rows : In
        Position of row 0; number of rows.
    i_words : In(stream of cols bytes)
        Exponents, an unsigned byte for each position, block of the head by block.
    read_half, read_block, read_pos_block, read_part, read : read port
        Exponents of a part of 32 positions, `ArchConfig.feed_len`, one cycle later.
    feed_block, feed_row, feed_max and drain_en, drain_block, drain_row, drain_max : read ports
        The maximum for a row, one cycle later. Rows of bank n are those from n * max_rows / 2.
    busy : Out(1)
        Words are yet to be taken; high with ``start`` already. Read ports count when it is low.

    Timing
    ------
    A word takes a cycle, and a row one more in each block of the head. The first word is taken two
    cycles after ``start``, and ``busy`` falls :attr:`tail_cycles` after the last row or word.
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
            "read_part": In(range(max(2, config.feed_parts))),
            "read": Out(data.ArrayLayout(_EXP, config.feed_len)),
            "feed_block": In(4),
            "feed_row": In(row),
            "feed_max": Out(_EXP),
            "drain_en": In(1),
            "drain_block": In(4),
            "drain_row": In(row),
            "drain_max": Out(_EXP),
            "busy": Out(1),
        })

    @property
    def tail_cycles(self):
        """Cycles that it takes to find the last maximum."""
        return exact_log2(self.config.cols) + 1

    def elaborate(self, platform):
        m = Module()
        cfg = self.config
        head_blocks = cfg.max_head_dim // BLOCK_LEN
        spans = cfg.max_context // BLOCK_LEN
        part_bits = exact_log2(cfg.feed_parts)
        block_bits, span_bits = (head_blocks - 1).bit_length(), (spans - 1).bit_length()
        part = data.ArrayLayout(_EXP, cfg.cols)

        m.submodules.words = words = memory.Memory(
            shape=self.read.shape(),
            depth=2 << (block_bits + span_bits + part_bits),
            init=[],
            attrs=UNDEFINED,
        )
        m.submodules.maxima = maxima = memory.Memory(
            shape=_EXP, depth=2 * cfg.max_rows << block_bits, init=[]
        )
        write = words.write_port(granularity=cfg.cols)
        read = words.read_port()
        max_write, feed, drain = maxima.write_port(), maxima.read_port(), maxima.read_port()
        m.d.comb += [
            read.addr.eq(
                Cat(
                    self.read_part[:part_bits],
                    self.read_pos_block[:span_bits],
                    self.read_block[:block_bits],
                    self.read_half,
                )
            ),
            self.read.eq(read.data),
            feed.addr.eq(Cat(self.feed_row, self.feed_block[:block_bits])),
            self.feed_max.eq(feed.data),
            drain.en.eq(self.drain_en),
            drain.addr.eq(Cat(self.drain_row, self.drain_block[:block_bits])),
            self.drain_max.eq(drain.data),
        ]

        # What is being loaded. Row 0 is element `ahead` of the word, and element `beyond` the first
        # that no row sees.
        bank, rows, blocks = Signal(2), Signal.like(self.rows), Signal(4)
        first = Signal(range(cfg.max_context))
        end = Signal(range(cfg.max_context + cfg.max_rows))
        words = Signal(range(spans * cfg.subs + 1))
        block, words_left = Signal(4), Signal.like(words)
        pos = Signal(range(cfg.max_context))  # of the word's first element
        ahead = Signal(range(-cfg.max_context, cfg.max_context))
        beyond = Signal(range(-cfg.max_context, cfg.max_context + cfg.max_rows))
        is_last = Signal()  # words_left == 1
        is_whole = Signal()  # the word ends no row's maximum: all its rows see all of it, or none
        held, taken = Signal(part), Signal(part)
        lane, row = Signal(range(cfg.cols)), Signal.like(self.rows)
        for number in range(cfg.cols):
            m.d.comb += taken[number].eq(self.i_words.payload[number].as_unsigned()[:EXP_WIDTH])
        m.d.comb += [
            write.addr.eq(
                Cat(
                    pos[exact_log2(cfg.feed_len) :][: part_bits + span_bits],
                    block[:block_bits],
                    bank[0],
                )
            ),
            *(write.data[index].eq(taken[index % cfg.cols]) for index in range(cfg.feed_len)),
        ]

        # Each step of the machine below shows exponents to the maximum, some of which count, and it
        # is written where a row ends. Steps go through a pipeline.
        step, ends, fresh = Signal(), Signal(), Signal()
        shown, counts = Signal(part), Signal(cfg.cols)
        bank_row = Signal(range(2 * cfg.max_rows))
        m.d.comb += bank_row.eq(bank * (cfg.max_rows // 2) + row)
        pipe = Pipeline(m)
        kept = pipe.hold(counts, "counts")
        largest, levels = pipe.tree(
            [
                exp & kept[n].replicate(EXP_WIDTH)
                for n, exp in enumerate(pipe.holds(shown, "shown"))
            ],
            lambda a, b: Mux(a > b, a, b),
            "largest",
        )
        in_pipe = [pipe.valid(step, "step_0")]
        for level in range(levels):
            in_pipe.append(pipe.valid(in_pipe[-1], f"step_{level + 1}"))

        def later(value, name):
            return pipe.hold(value, name, stages=1 + levels)

        running, larger = Signal(_EXP), Signal(_EXP)
        before = Mux(later(fresh, "fresh"), 0, running)
        m.d.comb += [
            larger.eq(Mux(largest > before, largest, before)),
            max_write.addr.eq(later(Cat(bank_row, block[:block_bits]), "place")),
            max_write.data.eq(larger),
            max_write.en.eq(in_pipe[-1] & later(ends, "ends")),
        ]
        with m.If(in_pipe[-1]):
            m.d.sync += running.eq(larger)

        def begin_block():
            return [
                pos.eq(0),
                row.eq(0),
                words_left.eq(words),
                is_last.eq(words == 1),
                ahead.eq(first),
                beyond.eq(end),
                is_whole.eq(first >= cfg.cols),
            ]

        def next_word():
            m.d.sync += [
                pos.eq(pos + cfg.cols),
                ahead.eq(ahead - cfg.cols),
                beyond.eq(beyond - cfg.cols),
                is_whole.eq((ahead >= 2 * cfg.cols) | (beyond <= cfg.cols)),
                words_left.eq(words_left - 1),
                is_last.eq(words_left == 2),
            ]
            m.next = "TAKE"
            with m.If(is_last):
                m.d.sync += [*begin_block(), block.eq(block + 1)]
                with m.If(block == blocks - 1):
                    m.next = "FINISH"

        m.d.comb += [self.busy.eq(1), shown.eq(taken)]
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += self.busy.eq(self.start)
                m.d.sync += [
                    bank.eq(self.bank),
                    rows.eq(self.rows),
                    first.eq(self.first_pos),
                    end.eq(self.first_pos + self.rows),
                    words.eq(self.pos_blocks * cfg.subs),
                    blocks.eq(self.head_blocks),
                    block.eq(0),
                ]
                with m.If(self.start):
                    m.next = "BEGIN"
            with m.State("BEGIN"):
                m.d.sync += begin_block()
                m.next = "TAKE"
            with m.State("TAKE"):
                m.d.comb += [
                    self.i_words.ready.eq(1),
                    fresh.eq(pos == 0),
                    *(counts[n].eq(n < ahead) for n in range(cfg.cols)),
                ]
                m.d.sync += [held.eq(taken), lane.eq(Mux(ahead > 0, ahead, 0))]
                with m.If(self.i_words.valid):
                    place = pos[: exact_log2(cfg.feed_len)] >> exact_log2(cfg.cols)
                    m.d.comb += [write.en.eq(1 << place), step.eq(1)]
                    with m.If(is_whole):
                        next_word()
                    with m.Else():
                        m.next = "WALK"
            with m.State("WALK"):
                # One position at a time: a row ends at each.
                m.d.comb += [step.eq(1), ends.eq(1), counts.eq(1), shown[0].eq(held[lane])]
                m.d.sync += [lane.eq(lane + 1), row.eq(row + 1)]
                with m.If((lane == cfg.cols - 1) | (row == rows - 1)):
                    next_word()
            with m.State("FINISH"):
                # The last step writes in the cycle in which no other is behind it.
                with m.If(~Cat(in_pipe[:-1]).any()):
                    m.next = "IDLE"
        return m
