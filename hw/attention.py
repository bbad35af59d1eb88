"""Order of the work of one attention operator."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from .jobs import Dest, matmul_job, segment_layout
from .operator_word import operator_layout
from .visible_span import VisibleSpan

__all__ = ["Attention"]


class Attention(wiring.Component):
    """Run an attention operator: for each KV head, q . K, softmax, p . V on the tile's array.

    The sequences of a pass come one after the other. All query heads of a KV head go through
    together if they fit ``max_rows`` rows, so that K and V are read once; otherwise one query head
    at a time. Blocks of positions before those that a sequence's first row sees are left out.
    Computes ``sim.golden.attention``.

    Parameters
    ----------
    config : ArchConfig
    tile : int
        It runs through every ``config.tiles``-th KV head, from this one on.

    Members
    -------
    start : In(1)
        Begin, in the same cycle as `KvReader`. ``word`` and ``segments`` must hold while ``busy``.
        Without a head for this tile there is nothing to begin.
    word : In(operator_layout("attention"))
    segments : In
        Segments of the pass, from 1.
    segment_index, segment : Out, In(segment_layout)
        Rows of a sequence, one cycle after its number.
    rows, first_pos : Out
        Rows of the segment that is worked on, and position of its first.
    pos_blocks, first_block, visited_blocks, visited_pos, seen : Out
        See `VisibleSpan`.
    chunks, chunk_heads : Out
        Chunks of query heads for a KV head, and heads in each.
    exponents_start, exponents_busy : to `ValueExponents`
    scores_start, scores_busy, scores_collecting : to `Scores`
    o_job : Out(stream of matmul_job)
    results_busy : In(1)
        A matrix job or its results are on their way.
    busy : Out(1)
    """

    #: What units learn of the segment.
    SPAN = ("pos_blocks", "first_block", "visited_blocks", "visited_pos", "seen")

    def __init__(self, config, *, tile=0):
        self.config = config
        self.tile = tile
        self._span = VisibleSpan(config)
        span = self._span.signature
        rows = range(config.max_rows + 1)
        super().__init__({
            "start": In(1),
            "word": In(operator_layout("attention")),
            "segments": In(range(config.max_seqs + 1)),
            "segment_index": Out(range(config.max_seqs)),
            "segment": In(segment_layout(config)),
            "rows": Out(rows),
            "first_pos": Out(range(config.max_context)),
            **{name: Out(span.members[name].shape) for name in self.SPAN},
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
        m.submodules.span = span = self._span
        index = Signal(range(cfg.max_seqs + 1))
        segment = Signal(segment_layout(cfg))
        head = Signal(8)
        chunk = Signal(8)
        query_block = Signal(10)  # first block of the chunk's query heads
        group_blocks = Signal(10)  # of all query heads of a KV head
        m.d.sync += group_blocks.eq(word.group * word.head_blocks)
        m.d.comb += [
            self.segment_index.eq(index),
            self.rows.eq(segment.rows),
            self.first_pos.eq(segment.first_pos),
            span.first_pos.eq(segment.first_pos),
            span.rows.eq(segment.rows),
            span.window.eq(word.window),
            span.group.eq(word.group),
            self.chunks.eq(Mux(span.together, 1, word.group)),
            self.chunk_heads.eq(Mux(span.together, word.group, 1)),
            self.busy.eq(1),
        ]
        for name in self.SPAN:
            m.d.comb += getattr(self, name).eq(getattr(span, name))

        job = self.o_job.p
        m.d.comb += [
            job.heads.eq(self.chunk_heads),
            job.head_rows.eq(self.rows),
            job.row0.eq(segment.row0),
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
                begins = self.start & (word.kv_heads > self.tile)
                m.d.comb += self.busy.eq(begins)
                m.d.sync += [index.eq(0), chunk.eq(0)]
                with m.If(begins):
                    m.next = "SEGMENT"
            with m.State("SEGMENT"):
                m.d.sync += [head.eq(self.tile), query_block.eq(group_blocks * self.tile)]
                m.next = "TAKE"
            with m.State("TAKE"):
                m.d.sync += segment.eq(self.segment)
                m.next = "SPAN"
            with m.State("SPAN"):
                m.next = "EXTENT"
            with m.State("EXTENT"):
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
                        # Past the heads of the other tiles.
                        others = group_blocks * (cfg.tiles - 1)
                        m.d.sync += [
                            chunk.eq(0),
                            head.eq(head + cfg.tiles),
                            query_block.eq(
                                query_block + self.chunk_heads * word.head_blocks + others
                            ),
                        ]
                        m.next = "EXPONENTS"
                        with m.If(head + cfg.tiles >= word.kv_heads):
                            m.d.sync += index.eq(index + 1)
                            m.next = "SEGMENT"
                            with m.If(index == self.segments - 1):
                                m.next = "IDLE"
        return m
