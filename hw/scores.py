"""Attention scores, their softmax, and the probabilities for the pass over V."""

from amaranth.hdl import Array, Cat, Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from .jobs import RowScale, result_label
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
    prob_row, prob_block, prob : read port
        32 probabilities of a row, one cycle later.
    scale_en, scale_row, scale : read port
        Scale of a row, one cycle later; it stays while ``scale_en`` is low.

    Timing
    ------
    Scores are taken at once. Between a row's last beat of a strip and its first of the next there
    must be :attr:`strip_gap` cycles; `Matmul` needs many more for a strip. ``busy`` rises
    :attr:`strip_gap` + 1 cycles after the last beat, and is high for `softmax_cycles`.
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
            "prob": Out(data.ArrayLayout(unsigned(PROB_WIDTH), BLOCK_LEN)),
            "scale_en": In(1),
            "scale_row": In(row),
            "scale": Out(RowScale),
        })

    @property
    def strip_gap(self):
        """Cycles, at least, between the beats of a row in one strip and those in the next."""
        return exact_log2(self.config.lanes) + 1

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
            shape=vector, depth=beats * cfg.max_rows, init=[]
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
        maximum, collected = self._maximum(m, place, Array(halves)[meta.half])
        self._softmax(m, softmax, maximum, collected, Array(halves))

        m.submodules.probs = probs = memory.Memory(
            shape=data.ArrayLayout(unsigned(PROB_WIDTH), BLOCK_LEN),
            depth=cfg.max_context // BLOCK_LEN * cfg.max_rows,
            init=[],
        )
        prob_write, prob_read = probs.write_port(granularity=cfg.lanes), probs.read_port()
        beat_bits = exact_log2(cfg.beats)
        m.d.comb += [
            prob_write.addr.eq(Cat(softmax.prob_row[:row_bits], softmax.prob_beat[beat_bits:])),
            prob_write.en.eq(Mux(softmax.prob_valid, 1 << softmax.prob_beat[:beat_bits], 0)),
            prob_read.addr.eq(Cat(self.prob_row, self.prob_block)),
            self.prob.eq(prob_read.data),
        ]
        for lane in range(BLOCK_LEN):
            m.d.comb += prob_write.data[lane].eq(softmax.prob[lane % cfg.lanes])
        return m

    def _maximum(self, m, place, chunk):
        """Keep the largest score that each row sees.

        Return a read port, and a bit for each half: its last score is counted in.
        """
        cfg = self.config
        m.submodules.maxima = maxima = memory.Memory(
            shape=signed(SCORE_WIDTH), depth=cfg.max_rows, init=[]
        )
        write, old, read = maxima.write_port(), maxima.read_port(), maxima.read_port()
        meta = self.i_score.p.meta

        # Stage 1: hide what the row does not see. The old maximum is fetched.
        limit = Signal(range(-cfg.max_context, 2 * cfg.max_context))
        hidden = Signal(range(-2 * cfg.max_context, 2 * cfg.max_context))  # last before the window
        m.d.comb += [
            limit.eq(chunk.first_pos + meta.head_row - (place << exact_log2(cfg.lanes))),
            hidden.eq(limit - chunk.window),
            old.addr.eq(meta.index),
        ]
        valid, label = Signal(), Signal.like(meta)
        seen = [Signal(signed(SCORE_WIDTH), name=f"seen_{n}") for n in range(cfg.lanes)]
        m.d.sync += [valid.eq(self.i_score.valid), label.eq(meta)]
        for lane, score in enumerate(seen):
            sees = (lane <= limit) & (lane > hidden)
            m.d.sync += score.eq(Mux(sees, self.i_score.p.data[lane], _LOWEST))

        # A stage for each halving: the largest of the beat.
        def halve(values, name):
            pairs = zip(values[::2], values[1::2], strict=True)
            larger = [Mux(a > b, a, b) for a, b in pairs]
            kept = [Signal(signed(SCORE_WIDTH), name=f"{name}_{n}") for n in range(len(larger))]
            m.d.sync += [register.eq(value) for register, value in zip(kept, larger, strict=True)]
            return kept

        stages = [(valid, label, old.data)]
        values, level = seen, 0
        while len(values) > 1:
            values = halve(values, f"larger_{level}")
            valid_next = Signal(name=f"valid_{level}")
            label_next = Signal.like(meta, name=f"label_{level}")
            old_next = Signal(signed(SCORE_WIDTH), name=f"old_{level}")
            m.d.sync += [
                valid_next.eq(stages[-1][0]),
                label_next.eq(stages[-1][1]),
                old_next.eq(stages[-1][2]),
            ]
            stages.append((valid_next, label_next, old_next))
            level += 1
        valid, label, before = stages[-1]

        # Last: with the beats of the row before it, and the strips before.
        of_row = Signal(signed(SCORE_WIDTH))
        earlier = Signal(signed(SCORE_WIDTH))
        largest = Signal(signed(SCORE_WIDTH))
        m.d.comb += [
            earlier.eq(Mux(label.beat == 0, Mux(label.strip == 0, _LOWEST, before), of_row)),
            largest.eq(Mux(values[0] > earlier, values[0], earlier)),
            write.addr.eq(label.index),
            write.data.eq(largest),
            write.en.eq(valid),
        ]
        collected = Signal(2)
        with m.If(valid):
            m.d.sync += of_row.eq(largest)
            m.d.comb += collected.eq(Mux(label.last, Mux(label.half, 2, 1), 0))
        return read, collected

    def _softmax(self, m, softmax, maximum, collected, halves):
        """One job for each row of a half whose scores are collected; count the results."""
        cfg = self.config
        waiting, half = Signal(2), Signal()
        drops, finishes = Signal(2), Signal(2)
        chunk = halves[half]
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
