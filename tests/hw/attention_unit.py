"""The units that work on one attention operator, joined: what `bench_attention_unit` drives."""

from amaranth.hdl import Module
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from hw.activation_memory import ActivationMemory, Block
from hw.attention import Attention
from hw.drain import Drain
from hw.jobs import Dest, segment_layout
from hw.kv_reader import KvReader
from hw.matmul import Matmul
from hw.operator_word import operator_layout
from hw.scores import Scores
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

        words = self.i_words
        for taker in (matmul.i_words, exponents.i_words):
            m.d.comb += [taker.valid.eq(words.valid), taker.payload.eq(words.payload)]
        m.d.comb += words.ready.eq(matmul.i_words.ready | exponents.i_words.ready)

        act = drain.o_act
        is_score = act.p.meta.dest == Dest.SCORES
        m.d.comb += [
            scores.i_score.valid.eq(act.valid & is_score),
            scores.i_score.p.meta.eq(act.p.meta),
            self.o_act.valid.eq(act.valid & ~is_score),
            self.o_act.payload.eq(act.payload),
            act.ready.eq(self.o_act.ready | is_score),
        ]
        for lane in range(cfg.lanes):
            m.d.comb += scores.i_score.p.data[lane].eq(act.p.data[lane])

        item = attention.item
        for unit in (attention, reader):
            m.d.comb += unit.segments.eq(self.segments)
            m.d.sync += unit.segment.eq(self.table[unit.segment_index])
        m.d.comb += [
            attention.start.eq(self.start),
            attention.word.eq(self.word),
            attention.exponents_busy.eq(exponents.busy),
            attention.scores_ready.eq(scores.ready),
            attention.taking.eq(matmul.taking),
            attention.results_busy.eq(matmul.busy | drain.busy),
            self.busy.eq(attention.busy | reader.busy),
            reader.start.eq(self.start),
            reader.word.eq(self.word),
            self.page_slot.eq(reader.page_slot),
            self.page_index.eq(reader.page_index),
            reader.page.eq(self.page),
            exponents.start.eq(attention.exponents_start),
            exponents.bank.eq(item.value_bank),
            exponents.pos_blocks.eq(item.pos_blocks),
            exponents.head_blocks.eq(self.word.head_blocks),
            exponents.first_pos.eq(item.segment.first_pos),
            exponents.rows.eq(item.segment.rows),
            exponents.read_half.eq(matmul.value_half),
            exponents.read_block.eq(matmul.value_block),
            exponents.read_pos_block.eq(matmul.value_pos_block),
            matmul.value_exp.eq(exponents.read),
            exponents.feed_block.eq(matmul.value_block),
            exponents.feed_row.eq(matmul.value_max_row),
            matmul.value_max.eq(exponents.feed_max),
            exponents.drain_en.eq(drain.value_max_en),
            exponents.drain_block.eq(drain.value_max_block),
            exponents.drain_row.eq(drain.value_max_row),
            drain.value_max.eq(exponents.drain_max),
            scores.expect.eq(attention.scores_expect),
            scores.half.eq(item.half),
            scores.first_pos.eq(item.visited_pos),
            scores.window.eq(item.seen),
            scores.heads.eq(item.heads),
            scores.head_rows.eq(item.segment.rows),
            scores.pos_blocks.eq(item.visited_blocks),
            scores.prob_row.eq(matmul.prob_row),
            scores.prob_block.eq(matmul.prob_block),
            matmul.prob.eq(scores.prob),
            scores.scale_en.eq(drain.scale_en),
            scores.scale_row.eq(drain.scale_row),
            drain.scale.eq(scores.scale),
            acts.write_en.eq(self.write_en),
            acts.write_block.eq(self.write_block),
            acts.write_row.eq(self.write_row),
            acts.write.eq(self.write),
            acts.read_block.eq(matmul.act_block),
            acts.read_row.eq(matmul.act_row),
            matmul.act.eq(acts.read),
        ]
        for name in ("strip_valid", "strip", "strip_bank", "sum"):
            m.d.comb += getattr(drain, name).eq(getattr(matmul, name))
        for name in ("strip_done", "sum_en", "sum_addr"):
            m.d.comb += getattr(matmul, name).eq(getattr(drain, name))
        return m
