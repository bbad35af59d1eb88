"""The units that work on one attention operator, joined: what `bench_attention_unit` drives."""

from amaranth.hdl import Module
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from hw.activation_memory import ActivationMemory, Block
from hw.attention import Attention
from hw.drain import Drain
from hw.jobs import segment_layout
from hw.kv_reader import KvReader
from hw.matmul import Matmul
from hw.operator_word import operator_layout
from hw.scores import Scores
from hw.tile_joints import join_items, join_matrix, join_results, join_words
from hw.value_exponents import ValueExponents
from hw.weight_streamer import descriptor_layout

__all__ = ["AttentionUnit"]


class AttentionUnit(wiring.Component):
    """An attention operator from its word to its results, without memory and block quantiser.

    ``table`` holds the segments of the pass.
    """

    def __init__(self, config):
        self.config = config
        self.matmul = Matmul(config)
        self.drain = Drain(config)
        super().__init__({
            "start": In(1),
            "word": In(operator_layout("attention")),
            "segments": In(range(config.max_seqs + 1)),
            "table": In(data.ArrayLayout(segment_layout(config), config.max_seqs)),
            "page_slot": Out(range(config.max_seqs)),
            "page_index": Out(range(max(2, config.max_pages))),
            "page": In(32),
            "o_descriptor": Out(stream.Signature(descriptor_layout())),
            "i_words": In(stream.Signature(self.matmul.word)),
            "write_en": In(1),
            "write_block": In(10),
            "write_row": In(range(config.max_rows)),
            "write": In(Block),
            "o_act": Out(stream.Signature(self.drain.o_act.payload.shape())),
            "busy": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        cfg = self.config
        m.submodules.matmul = matmul = self.matmul
        m.submodules.drain = drain = self.drain
        m.submodules.attention = attention = Attention(cfg)
        m.submodules.reader = reader = KvReader(cfg)
        m.submodules.exponents = exponents = ValueExponents(cfg)
        m.submodules.scores = scores = Scores(cfg)
        m.submodules.acts = acts = ActivationMemory(blocks=cfg.act_blocks, max_rows=cfg.max_rows)
        connect(m, attention.o_job, matmul.i_job)
        connect(m, reader.o_descriptor, flipped(self.o_descriptor))

        join_words(m, self.i_words, (matmul.i_words, exponents.i_words))
        join_matrix(m, matmul, drain, exponents, scores)
        join_items(m, self.word, matmul, attention, exponents, scores)
        join_results(m, drain, scores, self.o_act)

        for unit in (attention, reader):
            m.d.comb += unit.segments.eq(self.segments)
            m.d.sync += unit.segment.eq(self.table[unit.segment_index])
        m.d.comb += [
            attention.start.eq(self.start),
            attention.word.eq(self.word),
            attention.results_busy.eq(matmul.busy | drain.busy),
            self.busy.eq(attention.busy | reader.busy),
            reader.start.eq(self.start),
            reader.word.eq(self.word),
            self.page_slot.eq(reader.page_slot),
            self.page_index.eq(reader.page_index),
            reader.page.eq(self.page),
            acts.write_en.eq(self.write_en),
            acts.write_block.eq(self.write_block),
            acts.write_row.eq(self.write_row),
            acts.write.eq(self.write),
            acts.read_block.eq(matmul.act_block),
            acts.read_row.eq(matmul.act_row),
            matmul.act.eq(acts.read),
        ]
        return m
