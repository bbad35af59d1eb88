"""Runs one attention operator."""

from amaranth.hdl import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from .attention_order import AttentionOrder, Phase, item_layout
from .jobs import Dest, matmul_job, segment_layout
from .operator_word import operator_layout

__all__ = ["Attention"]

#: Fields that no matrix job of attention has.
_UNUSED = (
    "bias", "strips0", "strips1", "strips2", "shift1_1", "shift1_2", "shift2_0", "shift2_1",
    "shift2_2",
)  # fmt: skip


class Attention(wiring.Component):
    """Run an attention operator: for each KV head of a tile, q . K, softmax, p . V on its array.

    The sequences of a pass come one after the other. All query heads of a KV head go through
    together if they fit ``max_rows`` rows, so that K and V are read once; otherwise one query head
    at a time. The softmax of one chunk runs during q . K of the next where both fit: see
    `AttentionOrder`. Computes ``sim.golden.attention``.

    Parameters
    ----------
    config : ArchConfig
    tile : int
        See `AttentionOrder`.

    Members
    -------
    start : In(1)
        Begin, in the same cycle as `KvReader`. ``word`` and ``segments`` must hold while ``busy``.
    word : In(operator_layout("attention"))
    segments : In
        Segments of the pass, from 1.
    segment_index, segment : Out, In(segment_layout)
        Rows of a sequence, one cycle after its number.
    item : Out(item_layout)
        What the exponents belong to while they come, and scores that are expected.
    exponents_start, exponents_busy : to `ValueExponents`
    scores_expect, scores_ready : to `Scores`
    o_job : Out(stream of matmul_job)
    taking : In(1)
        Words or rows of a matrix job are still being taken.
    results_busy : In(1)
        A matrix job or its results are on their way.
    busy, active, starved : Out(1)
        An operator runs; the same, but for the cycle of ``start``; its P.V waits for probabilities.

    Timing
    ------
    Exponents wait until the job before has fed its rows, and a P.V until its probabilities
    are complete; nothing else waits.
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
            "item": Out(item_layout(config)),
            "exponents_start": Out(1),
            "exponents_busy": In(1),
            "scores_expect": Out(1),
            "scores_ready": In(2),
            "o_job": Out(stream.Signature(matmul_job(config))),
            "taking": In(1),
            "results_busy": In(1),
            "busy": Out(1),
            "active": Out(1),
            "starved": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        word = self.word
        m.submodules.order = order = AttentionOrder(self.config, tile=self.tile)
        step = order.o_step
        item = step.p.item
        job = self.o_job.p
        results_busy = Signal()  # a cycle late: who is asked is far
        begins = self.start & (word.kv_heads > self.tile)
        m.d.comb += [
            order.start.eq(self.start),
            order.word.eq(word),
            order.segments.eq(self.segments),
            self.segment_index.eq(order.segment_index),
            order.segment.eq(self.segment),
            self.item.eq(item),
            self.busy.eq(begins | self.active),
            job.heads.eq(item.heads),
            job.head_rows.eq(item.segment.rows),
            job.row0.eq(item.segment.row0),
            job.head_blocks.eq(word.head_blocks),
            job.half.eq(item.half),
            job.value_bank.eq(item.value_bank),
            job.first_block.eq(item.first_block),
        ]
        with m.If(step.p.phase == Phase.KEYS):
            m.d.comb += [
                job.dest.eq(Dest.SCORES),
                job.strips.eq(item.visited_blocks),
                job.blocks.eq(word.head_blocks),
                job.src.eq(word.q_src + item.query_block),
                job.shift1_0.eq(word.shift),
            ]
        with m.Else():
            m.d.comb += [
                job.dest.eq(Dest.VALUES),
                job.strips.eq(word.head_blocks),
                job.blocks.eq(item.visited_blocks),
                job.dst.eq(word.dst + item.query_block),
                # Where nothing assigns them, Yosys writes their zeros as processes that never run.
                *(job[name].eq(0) for name in _UNUSED),
            ]

        m.d.sync += results_busy.eq(self.results_busy)
        with m.FSM():
            with m.State("IDLE"):
                with m.If(begins):
                    m.d.sync += self.active.eq(1)
                    m.next = "STEP"
            with m.State("STEP"):
                with m.If(step.valid):
                    with m.Switch(step.p.phase):
                        with m.Case(Phase.EXPONENTS):
                            with m.If(~self.taking & ~(step.p.alone & results_busy)):
                                m.d.comb += self.exponents_start.eq(1)
                                m.next = "LOAD"
                        with m.Case(Phase.KEYS):
                            m.d.comb += [
                                self.o_job.valid.eq(1),
                                step.ready.eq(self.o_job.ready),
                                self.scores_expect.eq(self.o_job.ready),
                            ]
                        with m.Case(Phase.VALUES):
                            ready = self.scores_ready.bit_select(item.half, 1)
                            m.d.comb += [
                                self.o_job.valid.eq(ready),
                                self.starved.eq(~ready),
                                step.ready.eq(ready & self.o_job.ready),
                            ]
                            with m.If(step.ready & step.p.last):
                                m.next = "FINISH"
            with m.State("LOAD"):
                with m.If(~self.exponents_busy):
                    m.d.comb += step.ready.eq(1)
                    m.next = "STEP"
            with m.State("FINISH"):
                # For the last job `taking` rises first.
                with m.If(~self.taking & ~results_busy):
                    m.d.sync += self.active.eq(0)
                    m.next = "IDLE"
        return m
