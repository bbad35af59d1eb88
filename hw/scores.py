"""Attention scores, their softmax, and the probabilities for the pass over V."""

from amaranth.hdl import Array, Cat, Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from .jobs import RowScale, result_label
from .lib.collision import UNDEFINED
from .lib.pipeline import Pipeline
from .softmax import Softmax
from .spec.formats import BLOCK_LEN, PROB_WIDTH, SCORE_WIDTH

__all__ = ["Scores"]

_LOWEST = -(1 << (SCORE_WIDTH - 1)) + 1


def _chunk_layout(config):
    """Return the layout of what is kept of a chunk of query heads."""
    return data.StructLayout({
        "first_pos": range(config.max_context),
        "window": range(config.max_context + 1),
        "heads": range(config.max_rows + 1),
        "head_rows": range(config.max_rows + 1),
        "pos_blocks": range(config.max_context // BLOCK_LEN + 1),
    })


class Scores(wiring.Component):
    """Keep the scores of up to ``max_rows`` attention rows, and turn them into probabilities.

    There is room for two chunks of up to half as many rows, in halves (rows from 0, and from
    max_rows / 2): scores of one may come during the softmax of the other. A chunk of more rows is
    one of half 0. Row i of a head sees ``window`` positions, the last of them first_pos + i.
    Positions are counted from the first block that is visited, wherever that lies in the sequence.

    Parameters
    ----------
    config : ArchConfig

    Members
    -------
    i_score : In(stream of data, meta)
        Scores of 32 positions of a row, in beats; ``meta.strip`` counts the 32 positions. The
        softmax begins by itself behind ``meta.last``, when that of the other half is over.
    expect : In(1)
        Scores of another chunk will come into ``half``: take its fields.
    half, first_pos, window, heads, head_rows, pos_blocks : In
        Half; position of row 0; positions that a row sees, at least 1; heads and rows of each;
        blocks of 32 positions.
    ready : Out(2)
        A bit for each half: probabilities and scales of what was last expected there are complete.
    busy : Out(1)
        The softmax works.
    prob_row, prob_block, prob_part, prob : read port
        Probabilities of a row, a part of 32 positions: `ArchConfig.feed_len`; one cycle later.
    scale_en, scale_row, scale : read port
        Scale of a row, one cycle later; it stays while ``scale_en`` is low.

    Timing
    ------
    Scores are taken at once. Between a row's last beat of a strip and its first of the next there
    must be :attr:`STRIP_GAP` cycles; `Matmul` needs many more for a strip. ``busy`` rises
    :attr:`maximum_cycles` after the last beat, and is high for `softmax_cycles`.
    """

    def __init__(self, config):
        self.config = config
        self.softmax = Softmax(
            lanes=config.lanes, max_rows=config.max_rows, max_context=config.max_context
        )
        row = range(config.max_rows)
        super().__init__({
            "i_score": In(
                stream.Signature(
                    data.StructLayout({
                        "data": data.ArrayLayout(signed(SCORE_WIDTH), config.lanes),
                        "meta": result_label(config),
                    })
                )
            ),
            "expect": In(1),
            "half": In(1),
            **{name: In(field.shape) for name, field in _chunk_layout(config)},
            "ready": Out(2),
            "busy": Out(1),
            "prob_row": In(row),
            "prob_block": In(10),
            "prob_part": In(range(max(2, config.feed_parts))),
            "prob": Out(data.ArrayLayout(unsigned(PROB_WIDTH), config.feed_len)),
            "scale_en": In(1),
            "scale_row": In(row),
            "scale": Out(RowScale),
        })

    #: Cycles, at least, between the beats of a row in one strip and those in the next.
    STRIP_GAP = 2

    @property
    def maximum_cycles(self):
        """Cycles from a row's last beat until its maximum is known."""
        return exact_log2(self.config.lanes) + 4

    def softmax_cycles(self, *, rows, pos_blocks):
        """Return for how many cycles ``busy`` is high, for one chunk."""
        beats = pos_blocks * self.config.beats
        period = max(beats, Softmax.ROW_CYCLES)
        return (rows - 1) * period + beats + self.softmax.row_cycles + 4

    def elaborate(self, platform):
        m = Module()
        cfg = self.config
        m.submodules.softmax = softmax = self.softmax
        row_bits = exact_log2(cfg.max_rows)
        beats = cfg.max_context // cfg.lanes
        vector = data.ArrayLayout(signed(SCORE_WIDTH), cfg.lanes)

        # Scores as they come.
        m.submodules.scores = scores = memory.Memory(
            shape=vector, depth=beats * cfg.max_rows, init=[], attrs=UNDEFINED
        )
        write, read = scores.write_port(), scores.read_port()
        meta = self.i_score.p.meta
        place = Signal(range(beats))
        m.d.comb += [
            self.i_score.ready.eq(1),
            place.eq(meta.strip * cfg.beats + meta.beat),
            write.en.eq(self.i_score.valid),
            write.addr.eq(Cat(meta.index, place)),
            write.data.eq(self.i_score.p.data),
            read.en.eq(softmax.score_en),
            read.addr.eq(Cat(softmax.score_row[:row_bits], softmax.score_beat)),
            softmax.score.eq(read.data),
        ]
        halves = [Signal(_chunk_layout(cfg), name=f"chunk_{n}") for n in range(2)]
        for number, chunk in enumerate(halves):
            with m.If(self.expect & (self.half == number)):
                m.d.sync += [chunk[name].eq(getattr(self, name)) for name, _ in _chunk_layout(cfg)]
        maximum, collected = self._maximum(m, place, Array(halves))
        self._softmax(m, softmax, maximum, collected, Array(halves))

        m.submodules.probs = probs = memory.Memory(
            shape=self.prob.shape(),
            depth=cfg.max_context // cfg.feed_len * cfg.max_rows,
            init=[],
            attrs=UNDEFINED,
        )
        prob_write, prob_read = probs.write_port(granularity=cfg.lanes), probs.read_port()
        beat_bits = exact_log2(cfg.feed_len // cfg.lanes)
        part_bits = exact_log2(cfg.feed_parts)
        m.d.comb += [
            prob_write.addr.eq(Cat(softmax.prob_row[:row_bits], softmax.prob_beat[beat_bits:])),
            prob_write.en.eq(Mux(softmax.prob_valid, 1 << softmax.prob_beat[:beat_bits], 0)),
            prob_read.addr.eq(Cat(self.prob_row, self.prob_part[:part_bits], self.prob_block)),
            self.prob.eq(prob_read.data),
        ]
        for lane in range(cfg.feed_len):
            m.d.comb += prob_write.data[lane].eq(softmax.prob[lane % cfg.lanes])
        return m

    def _maximum(self, m, place, halves):
        """Keep the largest score that each row sees.

        Return a read port, and a bit for each half: its last score is counted in.
        """
        cfg = self.config
        m.submodules.maxima = maxima = memory.Memory(
            shape=signed(SCORE_WIDTH), depth=cfg.max_rows, init=[]
        )
        write, old, read = maxima.write_port(), maxima.read_port(), maxima.read_port()
        meta = self.i_score.p.meta
        pipe = Pipeline(m)
        valid, label = [self.i_score.valid], [meta]

        def carry():
            stage = len(valid)
            valid.append(pipe.valid(valid[-1], f"valid_{stage}"))
            label.append(pipe.hold(label[-1], f"label_{stage}"))

        # Where the row lies, then which lanes it sees: those up to `limit` and behind `hidden`.
        first_lane = pipe.hold(place << exact_log2(cfg.lanes), "first_lane")
        own = pipe.hold(halves[meta.half].first_pos + meta.head_row, "own")
        window = pipe.hold(halves[meta.half].window, "window")
        scores = pipe.holds(list(self.i_score.p.data), "score_0")
        carry()
        limit = pipe.hold(own - first_lane, "limit")
        hidden = pipe.hold(own - first_lane - window, "hidden")
        scores = pipe.holds(scores, "score_1")
        carry()
        # Hide what the row does not see, and find the largest of the beat.
        seen = pipe.holds(
            (
                Mux((lane <= limit) & (lane > hidden), score, _LOWEST)
                for lane, score in enumerate(scores)
            ),
            "seen",
            signed(SCORE_WIDTH),
        )
        carry()
        largest, levels = pipe.tree(seen, lambda a, b: Mux(a > b, a, b), "largest")
        for _ in range(levels):
            carry()

        # Last: with the beats of the row before it, and the strips before.
        before = label[-2]
        begins = pipe.hold(before.beat == 0, "begins")
        is_first = pipe.hold(before.strip == 0, "is_first")
        of_row = Signal(signed(SCORE_WIDTH))
        earlier, found = Signal.like(of_row), Signal.like(of_row)
        m.d.comb += [
            old.addr.eq(before.index),
            earlier.eq(Mux(begins, Mux(is_first, _LOWEST, old.data), of_row)),
            found.eq(Mux(largest > earlier, largest, earlier)),
            write.addr.eq(pipe.hold(label[-1].index, "write_row")),
            write.data.eq(of_row),
            write.en.eq(pipe.valid(valid[-1], "writes")),
        ]
        collected = Signal(2)
        with m.If(valid[-1]):
            m.d.sync += of_row.eq(found)
            m.d.comb += collected.eq(Mux(label[-1].last, Mux(label[-1].half, 2, 1), 0))
        return read, collected

    def _softmax(self, m, softmax, maximum, collected, halves):
        """One job for each row of a half whose scores are collected; count the results."""
        cfg = self.config
        waiting, half = Signal(2), Signal()
        drops, finishes = Signal(2), Signal(2)
        chunk = Signal(_chunk_layout(cfg))
        head, head_row = Signal.like(self.heads), Signal.like(self.head_rows)
        index, done = Signal(range(cfg.max_rows)), Signal(range(cfg.max_rows + 1))
        count = Signal.like(done)
        job = softmax.i_job
        limit = Signal(range(cfg.max_context + 1))
        m.submodules.scales = scales = memory.Memory(shape=RowScale, depth=cfg.max_rows, init=[])
        write, read = scales.write_port(), scales.read_port()
        result = softmax.o_row
        m.d.comb += [
            maximum.addr.eq(index),
            job.p.row.eq(index),
            job.p.beats.eq(chunk.pos_blocks << exact_log2(cfg.beats)),
            limit.eq(chunk.first_pos + head_row + 1),
            job.p.first.eq(Mux(limit > chunk.window, limit - chunk.window, 0)),
            job.p.limit.eq(limit),
            job.p.max.eq(maximum.data),
            result.ready.eq(1),
            write.en.eq(result.valid),
            write.addr.eq(result.p.row),
            write.data.shift1.eq(result.p.shift1),
            write.data.reciprocal.eq(result.p.reciprocal),
            write.data.shift2.eq(result.p.shift2),
            read.en.eq(self.scale_en),
            read.addr.eq(self.scale_row),
            self.scale.eq(read.data),
            self.busy.eq(1),
        ]
        with m.If(result.valid):
            m.d.sync += done.eq(done + 1)
        expected = Mux(self.expect, Mux(self.half, 2, 1), 0)
        m.d.sync += [
            waiting.eq((waiting & ~drops) | collected),
            self.ready.eq((self.ready & ~expected) | finishes),
        ]
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += self.busy.eq(waiting.any())
                m.d.sync += [head.eq(0), head_row.eq(0), done.eq(0), count.eq(0)]
                m.d.sync += [half.eq(~waiting[0]), index.eq(Mux(waiting[0], 0, cfg.max_rows // 2))]
                with m.If(waiting.any()):
                    m.d.comb += drops.eq(Mux(waiting[0], 1, 2))
                    m.next = "LOOK_UP"
            with m.State("LOOK_UP"):
                m.d.sync += chunk.eq(halves[half])
                m.next = "OFFER"
            with m.State("OFFER"):
                m.d.comb += job.valid.eq(1)
                with m.If(job.ready):
                    m.d.sync += [
                        index.eq(index + 1),
                        head_row.eq(head_row + 1),
                        count.eq(count + 1),
                    ]
                    m.next = "LOOK_UP"
                    with m.If(head_row == chunk.head_rows - 1):
                        m.d.sync += [head_row.eq(0), head.eq(head + 1)]
                        with m.If(head == chunk.heads - 1):
                            m.next = "FINISH"
            with m.State("FINISH"):
                with m.If((done == count) & ~softmax.busy):
                    m.d.comb += finishes.eq(Mux(half, 2, 1))
                    m.next = "IDLE"
