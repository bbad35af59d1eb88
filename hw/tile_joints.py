"""Joints between the units of a tile, as `Tile` and the bench of attention make them."""

from .jobs import Dest

__all__ = ["join_items", "join_matrix", "join_results", "join_words"]


def join_words(m, words, takers):
    """Offer the words of the stream to all units; the one that asks takes them."""
    ready = 0
    for taker in takers:
        m.d.comb += [taker.valid.eq(words.valid), taker.payload.eq(words.payload)]
        ready = ready | taker.ready
    m.d.comb += words.ready.eq(ready)


def join_matrix(m, matmul, drain, exponents, scores):
    """Join what the feeder reads besides activations, and the sums and scales that are drained."""
    m.d.comb += [
        scores.prob_row.eq(matmul.prob_row),
        scores.prob_block.eq(matmul.prob_block),
        scores.prob_part.eq(matmul.part),
        matmul.prob.eq(scores.prob),
        exponents.read_half.eq(matmul.value_half),
        exponents.read_block.eq(matmul.value_block),
        exponents.read_pos_block.eq(matmul.value_pos_block),
        exponents.read_part.eq(matmul.part),
        matmul.value_exp.eq(exponents.read),
        exponents.feed_block.eq(matmul.value_block),
        exponents.feed_row.eq(matmul.value_max_row),
        matmul.value_max.eq(exponents.feed_max),
        drain.strip_valid.eq(matmul.strip_valid),
        drain.strip.eq(matmul.strip),
        drain.strip_bank.eq(matmul.strip_bank),
        matmul.strip_done.eq(drain.strip_done),
        matmul.sum_en.eq(drain.sum_en),
        matmul.sum_addr.eq(drain.sum_addr),
        drain.sum.eq(matmul.sum),
        drain.header_bank.eq(matmul.header_bank),
        drain.header_bias.eq(matmul.header_bias),
        scores.scale_en.eq(drain.scale_en),
        scores.scale_row.eq(drain.scale_row),
        drain.scale.eq(scores.scale),
        exponents.drain_en.eq(drain.value_max_en),
        exponents.drain_block.eq(drain.value_max_block),
        exponents.drain_row.eq(drain.value_max_row),
        drain.value_max.eq(exponents.drain_max),
    ]


def join_items(m, word, matmul, attention, exponents, scores):
    """Tell exponents and scores which item of the operator ``word`` they work on, and back."""
    item = attention.item
    m.d.comb += [
        attention.exponents_busy.eq(exponents.busy),
        attention.scores_ready.eq(scores.ready),
        attention.taking.eq(matmul.taking),
        exponents.start.eq(attention.exponents_start),
        exponents.bank.eq(item.value_bank),
        exponents.pos_blocks.eq(item.pos_blocks),
        exponents.head_blocks.eq(word.head_blocks),
        exponents.first_pos.eq(item.segment.first_pos),
        exponents.rows.eq(item.segment.rows),
        scores.expect.eq(attention.scores_expect),
        scores.half.eq(item.half),
        scores.first_pos.eq(item.visited_pos),
        scores.window.eq(item.seen),
        scores.heads.eq(item.heads),
        scores.head_rows.eq(item.segment.rows),
        scores.pos_blocks.eq(item.visited_blocks),
    ]


def join_results(m, drain, scores, o_act):
    """Keep scores, and hand all other results to ``o_act``."""
    act, score = drain.o_act, scores.i_score
    m.d.comb += [score.p.meta.eq(act.p.meta), o_act.payload.eq(act.payload)]
    for source, target in zip(act.p.data, score.p.data, strict=True):
        m.d.comb += target.eq(source)
    with m.If(act.p.meta.dest == Dest.SCORES):
        m.d.comb += [score.valid.eq(act.valid), act.ready.eq(score.ready)]
    with m.Else():
        m.d.comb += [o_act.valid.eq(act.valid), act.ready.eq(o_act.ready)]
