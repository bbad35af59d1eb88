"""Order of the work of one attention operator."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from .jobs import Dest, matmul_job
from .operator_word import operator_layout
from .spec.formats import BLOCK_LEN

__all__ = ["Attention"]


class Attention(wiring.Component):
    """Run an attention operator: for each KV head, q . K, softmax, p . V on the one array.

    All query heads of a KV head go through together if they fit ``max_rows`` rows, so that K and V
    are read once; otherwise one query head at a time. Blocks of positions before those that the
    first row sees are left out. Computes ``sim.golden.attention``.

    Parameters
    ----------
    config : ArchConfig

    Members
    -------
    start : In(1)
        Begin, in the same cycle as `KvReader`. ``word``, ``first_pos`` and ``rows`` must hold while
        ``busy``.
    word : In(operator_layout("attention"))
    first_pos, rows : In
        Position of row 0; number of rows.
    pos_blocks : Out
        Blocks of 32 positions up to that of the last row.
    first_block : Out
        The first of them that is visited: that of the first position which a row sees, or before it
        where alignment asks for it. From the cycle after ``start`` on, as what follows.
    visited_blocks, visited_pos : Out
        Blocks that are visited; position of row 0, counted from the first of them.
    window : Out
        Positions that a row sees, its own included.
    chunks, chunk_heads : Out
        Chunks of query heads for a KV head, and heads in each.
    exponents_start, exponents_busy : to `ValueExponents`
    scores_start, scores_busy, scores_collecting : to `Scores`
    o_job : Out(stream of matmul_job)
    results_busy : In(1)
        A matrix job or its results are on their way.
    busy : Out(1)
    """

    def __init__(self, config):
        self.config = config
        rows = range(config.max_rows + 1)
        super().__init__({
            "start": In(1),
            "word": In(operator_layout("attention")),
            "first_pos": In(range(config.max_context)),
            "rows": In(rows),
            "pos_blocks": Out(range(config.max_context // BLOCK_LEN + 1)),
            "first_block": Out(range(config.max_context // BLOCK_LEN)),
            "visited_blocks": Out(range(config.max_context // BLOCK_LEN + 1)),
            "visited_pos": Out(range(config.max_context)),
            "window": Out(range(config.max_context + 1)),
            "chunks": Out(8),
            "chunk_heads": Out(rows),
            "exponents_start": Out(1),
            "exponents_busy": In(1),
            "scores_start": Out(1),
            "scores_busy": In(1),
            "scores_collecting": In(1),
            "o_job": Out(stream.Signature(matmul_job(config))),
            "results_busy": In(1),
            "busy": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        cfg = self.config
        word = self.word
        together = Signal()
        head = Signal(8)
        chunk = Signal(8)
        query_block = Signal(10)  # first block of the chunk's query heads
        m.d.comb += [
            self.pos_blocks.eq(
                (self.first_pos + self.rows + BLOCK_LEN - 1) >> exact_log2(BLOCK_LEN)
            ),
            self.visited_blocks.eq(self.pos_blocks - self.first_block),
            self.visited_pos.eq(self.first_pos - (self.first_block << exact_log2(BLOCK_LEN))),
            self.chunks.eq(Mux(together, 1, word.group)),
            self.chunk_heads.eq(Mux(together, word.group, 1)),
            self.busy.eq(1),
        ]

        # Row 0 sees the first of all positions that are seen.
        span = max(BLOCK_LEN, cfg.align_bytes)
        window = Signal.like(self.window)
        first_seen = Signal.like(self.first_pos)
        unlimited = (word.window == 0) | (word.window > cfg.max_context)
        m.d.comb += [
            window.eq(Mux(unlimited, cfg.max_context, word.window)),
            first_seen.eq(Mux(self.first_pos < window, 0, self.first_pos - window + 1)),
        ]
        m.d.sync += [
            self.window.eq(window),
            self.first_block.eq((first_seen >> exact_log2(span)) * (span // BLOCK_LEN)),
        ]

        job = self.o_job.p
        m.d.comb += [
            job.heads.eq(self.chunk_heads),
            job.head_rows.eq(self.rows),
            job.head_blocks.eq(word.head_blocks),
        ]

        def values_fields():
            return [
                job.dest.eq(Dest.VALUES),
                job.strips.eq(word.head_blocks),
                job.blocks.eq(self.visited_blocks),
                job.dst.eq(word.dst + query_block),
            ]

        def scores_fields():
            return [
                job.dest.eq(Dest.SCORES),
                job.strips.eq(self.visited_blocks),
                job.blocks.eq(word.head_blocks),
                job.src.eq(word.q_src + query_block),
                job.shift1_0.eq(word.shift),
            ]

        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += self.busy.eq(self.start)
                m.d.sync += [head.eq(0), chunk.eq(0), query_block.eq(0)]
                m.d.sync += together.eq(word.group * self.rows <= cfg.max_rows)
                with m.If(self.start):
                    m.next = "EXPONENTS"
            with m.State("EXPONENTS"):
                m.d.comb += self.exponents_start.eq(1)
                m.next = "LOAD"
            with m.State("LOAD"):
                with m.If(~self.exponents_busy):
                    m.next = "QUERY"
            with m.State("QUERY"):
                m.d.comb += [self.o_job.valid.eq(1), *scores_fields()]
                with m.If(self.o_job.ready):
                    m.next = "COLLECT"
            with m.State("COLLECT"):
                with m.If(~self.results_busy & ~self.scores_collecting):
                    m.d.comb += self.scores_start.eq(1)
                    m.next = "SOFTMAX"
            with m.State("SOFTMAX"):
                with m.If(~self.scores_busy):
                    m.next = "VALUES"
            with m.State("VALUES"):
                m.d.comb += [self.o_job.valid.eq(1), *values_fields()]
                with m.If(self.o_job.ready):
                    m.next = "DRAIN"
            with m.State("DRAIN"):
                with m.If(~self.results_busy):
                    m.d.sync += [
                        chunk.eq(chunk + 1),
                        query_block.eq(query_block + self.chunk_heads * word.head_blocks),
                    ]
                    m.next = "QUERY"
                    with m.If(chunk == self.chunks - 1):
                        m.d.sync += [chunk.eq(0), head.eq(head + 1)]
                        m.next = "EXPONENTS"
                        with m.If(head == word.kv_heads - 1):
                            m.next = "IDLE"
        return m
