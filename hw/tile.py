"""One systolic array with everything that feeds it, as often in the chip as it has tiles."""

from amaranth.hdl import Module, Mux, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped
from amaranth.utils import exact_log2

from .activation_memory import Block
from .attention import Attention
from .burst_cutter import command_layout
from .drain import Drain
from .jobs import matmul_job, segment_layout
from .kv_reader import KvReader
from .lib.slice import Slice
from .matmul import Matmul
from .memory_controller import STREAM_BEATS_WIDTH
from .operator_word import operator_layout
from .scores import Scores
from .spec.csr import TILE_UNITS, UNIT_STATES
from .table_reader import TableReader
from .tile_joints import join_items, join_matrix, join_results, join_words
from .value_exponents import ValueExponents
from .weight_streamer import WeightStreamer, descriptor_layout

__all__ = ["Tile"]


class Tile(wiring.Component):
    """Stream from one memory channel, compute linear operators and attention, requantise.

    Of a linear operator it computes the strips of its group, and of these its member's substrips;
    of attention every ``config.tiles``-th KV head.

    Parameters
    ----------
    config : ArchConfig
    number : int
        Which tile it is, from 0: `ArchConfig.groups`.

    Members
    -------
    o_stream, i_beat : to the memory controller of the channel
    i_descriptor : In(stream of descriptor_layout)
        Static streams in the channel.
    is_linear : In(1)
        The operator that runs is linear: table entries are headers of strips.
    i_job : In(stream of matmul_job)
        A linear operator's job, the same for all tiles. Without a strip for this one it is taken
        and dropped.
    table_start, table_words, table_rows, o_entry : see `TableReader`
        Tables and gains, in tile 0 alone.
    act_block, act_row, act : read port of the activation memory
    attention_start : In(1)
        Begin the operator ``attention``, in all tiles at once.
    attention, segments : In
        Its word, and the segments of the pass. They must hold while ``busy``.
    segment_index, segment, stream_index, stream_segment : Out, In(segment_layout)
        See `PassRows`.
    page_slot, page_index, page : Out, Out, In(32)
        See `PageTable`.
    o_act : Out(stream of the requantiser's output)
        Results of linear operators and of P.V, see `Drain`. Scores stay inside.
    results_busy : In(1)
        Results are on their way to the activation memory.
    issuing : Out(1)
        Attention has descriptors to give, which go before those of ``i_descriptor``.
    busy : Out(1)
        A job, attention or results are inside; words of a table are yet to be taken.
    counts : Out
        A bit for each counter of `hw.spec.csr` that a tile has; ``saturations`` counts lanes.
    """

    def __init__(self, config, *, number=0):
        self.config = config
        self.number = number
        self._group, self._member = divmod(number, config.strip_tiles)
        self._matmul = Matmul(config, group=self._group)
        self._drain = Drain(config, member=self._member)
        self._attention = Attention(config, tile=number)
        self._kv_reader = KvReader(config, tile=number)
        self._table = TableReader(config)
        table, reader, matmul = (
            unit.signature.members for unit in (self._table, self._kv_reader, self._matmul)
        )
        super().__init__({
            "o_stream": Out(stream.Signature(command_layout(STREAM_BEATS_WIDTH))),
            "i_beat": In(stream.Signature(data.ArrayLayout(unsigned(8), config.port_bytes))),
            "i_descriptor": In(stream.Signature(descriptor_layout())),
            "is_linear": In(1),
            "i_job": In(stream.Signature(matmul_job(config))),
            "table_start": In(1),
            "table_words": table["words"],
            "table_rows": table["rows"],
            "o_entry": table["o_entry"],
            "act_block": matmul["act_block"],
            "act_row": matmul["act_row"],
            "act": In(Block),
            "attention_start": In(1),
            "attention": In(operator_layout("attention")),
            "segments": reader["segments"],
            "segment_index": reader["segment_index"],
            "segment": In(segment_layout(config)),
            "stream_index": reader["segment_index"],
            "stream_segment": In(segment_layout(config)),
            "page_slot": reader["page_slot"],
            "page_index": reader["page_index"],
            "page": In(32),
            "o_act": self._drain.signature.members["o_act"],
            "results_busy": In(1),
            "issuing": Out(1),
            "busy": Out(1),
            "counts": Out(
                wiring.Signature({
                    **dict.fromkeys(("array_rows", "weight_words", "stream_words"), Out(1)),
                    **{
                        f"{unit}_{state}": Out(1)
                        for unit in TILE_UNITS
                        for state in UNIT_STATES[unit]
                    },
                    "saturations": Out(range(config.lanes + 1)),
                })
            ),
        })

    def elaborate(self, platform):
        m = Module()
        cfg = self.config
        units = m.submodules
        units.streamer = streamer = WeightStreamer(port_bytes=cfg.port_bytes, word_bytes=cfg.cols)
        units.kv_reader = kv_reader = self._kv_reader
        units.table = table = self._table
        units.matmul = matmul = self._matmul
        units.drain = drain = self._drain
        units.exponents = exponents = ValueExponents(cfg)
        units.scores = scores = Scores(cfg)
        units.attention = attention = self._attention
        # Between the streamer, which is near the memory, and the array.
        units.words = words = Slice(streamer.o_words.payload.shape())
        connect(m, streamer.o_words, words.i)
        self._stream(m, streamer, kv_reader)
        join_words(m, words.o, (matmul.i_words, exponents.i_words, table.i_words))
        self._table_entries(m, table, matmul, drain)
        self._jobs(m, matmul, attention)
        self._matrix(m, matmul, drain, exponents, scores)
        self._attend(m, matmul, drain, exponents, scores)
        join_results(m, drain, scores, self.o_act)

        m.d.comb += [
            self.issuing.eq(kv_reader.busy),
            self.busy.eq(matmul.busy | drain.busy | attention.busy | table.busy),
        ]
        self._count(m, streamer, words.o, matmul, drain, attention, scores)
        return m

    def _count(self, m, streamer, words, matmul, drain, attention, scores):
        act, job = drain.o_act, attention.o_job
        clipped = sum(bit for bit in act.p.clipped)
        values = {
            "array_rows": matmul.feeding,
            "weight_words": matmul.loading,
            "stream_words": words.valid & words.ready,
            "saturations": Mux(act.valid & act.ready, clipped, 0),
            "stream_busy": ~streamer.idle,
            "stream_starved": ~streamer.idle & ~words.valid,
            "stream_stalled": words.valid & ~words.ready,
            "array_busy": matmul.busy,
            "array_starved": matmul.starved,
            "array_stalled": matmul.stalled,
            "post_busy": drain.busy,
            "post_starved": matmul.busy & ~matmul.strip_valid & ~drain.busy,
            "post_stalled": act.valid & ~act.ready,
            "softmax_busy": scores.busy,
            "attention_busy": attention.busy,
            "attention_starved": attention.starved,
            "attention_stalled": job.valid & ~job.ready,
        }
        # Those who count are far.
        for name in self.counts.signature.members:
            m.d.sync += getattr(self.counts, name).eq(values[name])

    def _stream(self, m, streamer, kv_reader):
        """Beats, and descriptors of one source at a time."""
        connect(m, streamer.o_command, flipped(self.o_stream))
        # Between the memory's readiness and that of the streamer.
        m.submodules.beats = beats = Slice(self.i_beat.payload.shape())
        connect(m, flipped(self.i_beat), beats.i)
        connect(m, beats.o, streamer.i_beats)
        into = streamer.i_descriptor
        for index, source in enumerate((kv_reader.o_descriptor, self.i_descriptor)):
            with (m.If if index == 0 else m.Elif)(source.valid):
                m.d.comb += [
                    into.valid.eq(1),
                    into.payload.eq(source.payload),
                    source.ready.eq(into.ready),
                ]

    def _table_entries(self, m, table, matmul, drain):
        """Headers of strips go the way of all tables."""
        connect(m, matmul.o_table, table.i_header)
        entry = table.o_entry
        m.d.comb += [
            table.start.eq(self.table_start),
            table.words.eq(self.table_words),
            table.rows.eq(self.table_rows),
            drain.i_header.payload.eq(entry.payload),
            self.o_entry.payload.eq(entry.payload),
        ]
        with m.If(self.is_linear):
            m.d.comb += [drain.i_header.valid.eq(entry.valid), entry.ready.eq(drain.i_header.ready)]
        with m.Else():
            m.d.comb += [self.o_entry.valid.eq(entry.valid), entry.ready.eq(self.o_entry.ready)]

    def _jobs(self, m, matmul, attention):
        """Jobs of linear operators, cut to the strips of the group, or of attention."""
        into, whole = matmul.i_job, self.i_job
        groups = self.config.groups
        with m.If(attention.active):
            m.d.comb += [
                into.valid.eq(attention.o_job.valid),
                into.payload.eq(attention.o_job.payload),
                attention.o_job.ready.eq(into.ready),
            ]
        with m.Else():
            some = Signal()
            m.d.comb += [
                some.eq(whole.p.strips > self._group),
                into.valid.eq(whole.valid & some),
                into.payload.eq(whole.payload),
                into.p.strips.eq((whole.p.strips + groups - 1 - self._group) >> exact_log2(groups)),
                whole.ready.eq(into.ready | ~some),
            ]

    def _matrix(self, m, matmul, drain, exponents, scores):
        m.d.comb += [
            self.act_block.eq(matmul.act_block),
            self.act_row.eq(matmul.act_row),
            matmul.act.eq(self.act),
        ]
        join_matrix(m, matmul, drain, exponents, scores)

    def _attend(self, m, matmul, drain, exponents, scores):
        attention, kv_reader = self._attention, self._kv_reader
        m.d.comb += [
            attention.start.eq(self.attention_start),
            attention.word.eq(self.attention),
            attention.segments.eq(self.segments),
            self.segment_index.eq(attention.segment_index),
            attention.segment.eq(self.segment),
            attention.results_busy.eq(matmul.busy | drain.busy | self.results_busy),
            kv_reader.start.eq(self.attention_start),
            kv_reader.word.eq(self.attention),
            kv_reader.segments.eq(self.segments),
            self.stream_index.eq(kv_reader.segment_index),
            kv_reader.segment.eq(self.stream_segment),
            self.page_slot.eq(kv_reader.page_slot),
            self.page_index.eq(kv_reader.page_index),
            kv_reader.page.eq(self.page),
        ]
        join_items(m, self.attention, matmul, attention, exponents, scores)
