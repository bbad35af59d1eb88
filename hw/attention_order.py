"""Order of the work of one attention operator, for those who fetch and for those who compute."""

from amaranth.hdl import Cat, Module, Mux, Signal, unsigned
from amaranth.lib import data, enum, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from .jobs import segment_layout
from .lib.slice import Slice
from .operator_word import operator_layout
from .spec.formats import BLOCK_LEN
from .visible_span import VisibleSpan

__all__ = ["AttentionOrder", "Phase", "step_layout"]


class Phase(enum.Enum, shape=2):
    """What a step of attention takes from the stream."""

    EXPONENTS = 0  # of V, of a KV head
    KEYS = 1  # for the scores of a chunk of query heads
    VALUES = 2  # for P.V of a chunk


def item_layout(config):
    """Return the layout of what is known of a chunk of query heads: of an item.

    ``segment``; outputs of `VisibleSpan` for it; ``heads``: in the chunk; ``query_block``: first
    block of the chunk's query heads; ``head_offset``: bytes from the start of a page to those of
    the KV head; ``half`` of the scores; ``value_bank`` of the exponents of V.
    """
    blocks = range(config.max_context // BLOCK_LEN + 1)
    return data.StructLayout({
        "segment": segment_layout(config),
        "pos_blocks": blocks,
        "first_block": range(config.max_context // BLOCK_LEN),
        "visited_blocks": blocks,
        "visited_pos": range(config.max_context),
        "seen": range(config.max_context + 1),
        "heads": range(config.max_rows + 1),
        "query_block": unsigned(10),
        "head_offset": unsigned(32),
        "half": 1,
        "value_bank": unsigned(2),
    })


def step_layout(config):
    """Return the layout of a step: ``phase`` of an ``item``.

    ``alone``: the results of all steps before must have left; ``last``: of the operator.
    """
    return data.StructLayout({
        "phase": Phase,
        "item": item_layout(config),
        "alone": 1,
        "last": 1,
    })


class AttentionOrder(wiring.Component):
    """Walk over the segments of a pass, the tile's KV heads and chunks of query heads.

    An item is a chunk. Where two that follow each other both fit half of ``max_rows`` rows, the
    keys of the second come before the values of the first, so that its scores are computed during
    the softmax of the first: E0 K0 E1 K1 V0 E2 K2 V1 ... Others are E0 K0 V0 E1 ... Exponents come
    before the first chunk of a KV head only.

    Parameters
    ----------
    config : ArchConfig
    tile : int
        Its KV heads are every ``config.tiles``-th from this one on; they lie one after the other in
        its channel.

    Members
    -------
    start : In(1)
        Begin. ``word`` and ``segments`` must hold until the last step is taken. Without a head for
        the tile there is nothing to begin.
    word : In(operator_layout("attention"))
    segments : In
        Segments of the pass, from 1.
    segment_index, segment : Out, In(segment_layout)
        Rows of a sequence, one cycle after its number.
    o_step : Out(stream of step_layout)
    busy : Out(1)
        Steps are yet to be taken; high with ``start`` already.

    Timing
    ------
    The first step is on offer six cycles after ``start``. Where steps are taken at once, keys come
    one cycle after exponents, and so do values after keys; another item comes after two, or three
    without exponents, and one of another segment after six. Two steps wait for those who are late.
    """

    def __init__(self, config, *, tile=0):
        self.config = config
        self.tile = tile
        super().__init__({
            "start": In(1),
            "word": In(operator_layout("attention")),
            "segments": In(range(config.max_seqs + 1)),
            "segment_index": Out(range(config.max_seqs)),
            "segment": In(segment_layout(config)),
            "o_step": Out(stream.Signature(step_layout(config))),
            "busy": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        cfg = self.config
        word = self.word
        m.submodules.span = span = VisibleSpan(cfg)
        index = Signal(range(cfg.max_seqs + 1))
        head, chunk, chunks = Signal(8), Signal(8), Signal(8)
        segment = Signal(segment_layout(cfg))
        query_block, head_offset = Signal(10), Signal(32)
        group_blocks = Signal(10)  # of the query heads of a KV head
        chunk_blocks = Signal(10)  # of those of a chunk
        # Known a cycle late, which is soon enough: none is asked for in the cycle after one that
        # it comes from has changed.
        last_chunk, last_head, last_segment = Signal(), Signal(), Signal()
        m.d.sync += [
            group_blocks.eq(word.group * word.head_blocks),
            chunk_blocks.eq(Mux(span.together, group_blocks, word.head_blocks)),
            last_chunk.eq(chunk == chunks - 1),
            last_head.eq(head + cfg.tiles >= word.kv_heads),
            last_segment.eq(index == self.segments - 1),
        ]
        half = Signal()
        bank = Signal(2)  # of the KV head's exponents
        turn = Signal(2)  # the bank after that
        item = Signal(item_layout(cfg))  # whose keys come next
        before = Signal(item_layout(cfg))  # whose values are yet to come, if it waits
        waits, before_halved = Signal(), Signal()
        m.submodules.steps = steps = Slice(self.o_step.payload.shape())
        connect(m, steps.o, flipped(self.o_step))
        step = steps.i.p

        m.d.comb += [
            self.busy.eq(1),
            self.segment_index.eq(index),
            span.first_pos.eq(segment.first_pos),
            span.rows.eq(segment.rows),
            span.window.eq(word.window),
            span.group.eq(word.group),
            chunks.eq(Mux(span.together, 1, word.group)),
            item.segment.eq(segment),
            item.heads.eq(Mux(span.together, word.group, 1)),
            item.query_block.eq(query_block),
            item.head_offset.eq(head_offset),
            item.half.eq(half & span.halved),
            item.value_bank.eq(bank),
            step.item.eq(item),
        ]
        for name in ("pos_blocks", "first_block", "visited_blocks", "visited_pos", "seen"):
            m.d.comb += item[name].eq(getattr(span, name))

        def offer(phase):
            m.d.comb += [steps.i.valid.eq(1), step.phase.eq(phase)]

        keep = [before.eq(item), before_halved.eq(span.halved), waits.eq(1)]

        with m.FSM():
            with m.State("IDLE"):
                begins = self.start & (word.kv_heads > self.tile)
                m.d.comb += self.busy.eq(begins | self.o_step.valid)
                m.d.sync += [index.eq(0), chunk.eq(0), waits.eq(0), before_halved.eq(0)]
                with m.If(begins):
                    m.next = "SEGMENT"
            with m.State("SEGMENT"):
                m.d.sync += [
                    head.eq(self.tile),
                    query_block.eq(group_blocks * self.tile),
                    head_offset.eq(word.kv_offset),
                ]
                m.next = "TAKE"
            with m.State("TAKE"):
                m.d.sync += segment.eq(self.segment)
                m.next = "SPAN"
            with m.State("SPAN"):
                m.next = "EXTENT"
            with m.State("EXTENT"):
                m.next = "BEGIN"
            with m.State("BEGIN"):
                with m.If(waits & ~(before_halved & span.halved)):
                    offer(Phase.VALUES)
                    m.d.comb += step.item.eq(before)
                    with m.If(steps.i.ready):
                        m.d.sync += waits.eq(0)
                with m.Elif(chunk == 0):
                    # Half of the rows takes one bank, all rows take an even one and the next. These
                    # may be in use after halves: the step is alone, until their results are out.
                    next_bank = Signal(2)
                    offer(Phase.EXPONENTS)
                    m.d.comb += [
                        next_bank.eq(Mux(span.halved, turn, Cat(0, turn[1]))),
                        step.item.value_bank.eq(next_bank),
                        step.alone.eq(before_halved & ~span.halved),
                    ]
                    with m.If(steps.i.ready):
                        m.d.sync += [
                            bank.eq(next_bank),
                            turn.eq(next_bank + Mux(span.halved, 1, 2)),
                        ]
                        m.next = "KEYS"
                with m.Else():
                    m.next = "KEYS"
            with m.State("KEYS"):
                offer(Phase.KEYS)
                with m.If(steps.i.ready):
                    m.next = "VALUES"
                    with m.If(~waits):
                        m.d.sync += keep
                        m.next = "ADVANCE"
            with m.State("VALUES"):
                offer(Phase.VALUES)
                m.d.comb += step.item.eq(before)
                with m.If(steps.i.ready):
                    m.d.sync += keep
                    m.next = "ADVANCE"
            with m.State("ADVANCE"):
                next_block = query_block + chunk_blocks
                m.d.sync += [
                    chunk.eq(chunk + 1),
                    query_block.eq(next_block),
                    half.eq(~half),
                ]
                m.next = "BEGIN"
                with m.If(last_chunk):
                    m.d.sync += [
                        chunk.eq(0),
                        # Past the heads of the other tiles.
                        query_block.eq(next_block + group_blocks * (cfg.tiles - 1)),
                        head.eq(head + cfg.tiles),
                        head_offset.eq(head_offset + word.head_stride),
                    ]
                    with m.If(last_head):
                        m.d.sync += index.eq(index + 1)
                        m.next = "SEGMENT"
                        with m.If(last_segment):
                            m.next = "LAST"
            with m.State("LAST"):
                offer(Phase.VALUES)
                m.d.comb += [step.item.eq(before), step.last.eq(1)]
                with m.If(steps.i.ready):
                    m.next = "IDLE"
        return m
