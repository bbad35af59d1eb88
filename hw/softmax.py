"""Softmax of the scores of a row, but for the division."""

import operator

from amaranth.hdl import Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out

from .lib.arithmetic import round_half, with_half
from .lib.parameter import check_lanes, check_multiple, check_power_of_two
from .lib.pipeline import Pipeline
from .lib.queue import Queue
from .reciprocal import RECIPROCAL_WIDTH, Reciprocal
from .spec.formats import BLOCK_LEN, EXP_LUT_LEN, PROB_WIDTH, SCORE_FRACTION, SCORE_WIDTH
from .spec.tables import exp_table

__all__ = ["Softmax", "softmax_job_layout", "softmax_row_layout"]

_OCTAVES = 15  # a score this many octaves below the largest has probability 0


def softmax_job_layout(*, lanes, max_rows, max_context):
    """Return the layout of a job: the scores of one row."""
    return data.StructLayout({
        "row": range(max_rows),
        "beats": range(max_context // lanes + 1),
        "first": range(max_context),
        "limit": range(max_context + 1),
        "max": signed(SCORE_WIDTH),
    })


def softmax_row_layout(*, max_rows):
    """Return the layout of what is known of a row at its end."""
    return data.StructLayout({
        "row": range(max_rows),
        "shift1": signed(7),
        "reciprocal": unsigned(RECIPROCAL_WIDTH),
        "shift2": unsigned(6),
    })


class Softmax(wiring.Component):
    """Turn scores into probabilities that are not normalised, and find their sum's reciprocal.

    ``sim.golden.softmax.softmax``, ``sim.golden.attention.reciprocal``. While the reciprocal
    of one row is divided out, the scores of the next are read.

    Parameters
    ----------
    lanes : int
        Elements of a beat.
    max_rows : int
        Rows of scores. A power of two.
    max_context : int
        Scores of a row. A multiple of 32.

    Members
    -------
    i_job : In(stream of softmax_job_layout)
        Rows. ``beats`` (at least 1): words to visit. ``first``, ``limit`` (more than ``first``):
        the row sees positions from ``first`` up to, but not, ``limit``; the others have probability
        0. ``max``: the largest score of those it sees.
    score_en, score_row, score_beat : Out
        Read port of the scores.
    score : In(ArrayLayout(signed(24), lanes))
        The word that was read in the last cycle.
    prob_valid, prob_row, prob_beat, prob : Out
        Probabilities, a word a cycle, which are taken at once.
    o_row : Out(stream of softmax_row_layout)
        At the end of a row, in the order of the jobs: ``reciprocal`` RC and the shifts before
        (``shift1``) and after (``shift2``) the multiplication with it.
    busy : Out(1)
        A row is inside.

    Timing
    ------
    A job's first word is read the cycle after it is taken, and then one each cycle; its
    probabilities follow :attr:`LATENCY` cycles later. ``o_row`` offers the row ``row_cycles``
    cycles after its last word is read. Rows follow each other in ``beats`` cycles, or in
    :attr:`ROW_CYCLES` where that is more, while ``o_row`` is taken at once.

    Raises
    ------
    TypeError, ValueError
        For a parameter that is not as above.
    """

    #: Cycles from where a word is read to its probabilities.
    LATENCY = 7

    #: Cycles from one reciprocal to the next.
    ROW_CYCLES = Reciprocal.LATENCY + 1

    def __init__(self, *, lanes, max_rows, max_context):
        check_lanes(lanes)
        check_power_of_two("max_rows", max_rows, least=2)
        check_multiple("max_context", max_context, BLOCK_LEN)
        self.lanes = lanes
        self.max_rows = max_rows
        self.max_context = max_context
        self._job = softmax_job_layout(lanes=lanes, max_rows=max_rows, max_context=max_context)
        row = range(max_rows)
        beat = range(max_context // lanes)
        super().__init__({
            "i_job": In(stream.Signature(self._job)),
            "score_en": Out(1),
            "score_row": Out(row),
            "score_beat": Out(beat),
            "score": In(data.ArrayLayout(signed(SCORE_WIDTH), lanes)),
            "prob_valid": Out(1),
            "prob_row": Out(row),
            "prob_beat": Out(beat),
            "prob": Out(data.ArrayLayout(unsigned(PROB_WIDTH), lanes)),
            "o_row": Out(stream.Signature(softmax_row_layout(max_rows=max_rows))),
            "busy": Out(1),
        })

    @property
    def row_cycles(self):
        """Cycles from where the last word of a row is read to the offer of the row."""
        return self.LATENCY + (self.lanes - 1).bit_length() + 2 + Reciprocal.LATENCY

    def elaborate(self, platform):
        m = Module()
        sum_width = (((1 << PROB_WIDTH) - 1) * self.max_context).bit_length()
        done = data.StructLayout({"sum": unsigned(sum_width), "meta": self.score_row.shape()})
        m.submodules.sums = sums = Queue(done, 2)
        m.submodules.reciprocal = divide = Reciprocal(
            width=sum_width, meta_shape=self.score_row.shape()
        )
        pipe = Pipeline(m)

        # Read a row. At most two rows are on their way to the division, where there is room for
        # as many.
        job = Signal(self._job)
        active = Signal()
        beat, last_beat = Signal(self.score_beat.shape()), Signal(self.score_beat.shape())
        last = Signal()
        on_way = Signal(range(3))
        divided = Signal()
        m.d.comb += [
            self.i_job.ready.eq((on_way != 2) & (~active | last)),
            divided.eq(divide.i_sum.valid & divide.i_sum.ready),
            self.score_en.eq(active),
            self.score_row.eq(job.row),
            self.score_beat.eq(beat),
        ]
        taken = Signal()
        m.d.comb += taken.eq(self.i_job.valid & self.i_job.ready)
        m.d.sync += [
            on_way.eq(on_way + taken - divided),
            beat.eq(beat + 1),
            last.eq(beat + 1 == last_beat),
        ]
        with m.If(~active | last):
            m.d.sync += [
                active.eq(taken),
                job.eq(self.i_job.p),
                beat.eq(0),
                last.eq(self.i_job.p.beats == 1),
                last_beat.eq(self.i_job.p.beats - 1),
            ]

        lane_width = (self.lanes - 1).bit_length()

        def lanes_before(position):
            """Return how many lanes of the word lie before a position."""
            whole = position[lane_width:]
            return Mux(beat < whole, self.lanes, Mux(beat == whole, position[:lane_width], 0))

        def carry(sides, name):
            return tuple(pipe.hold(side, f"{name}_{i}") for i, side in enumerate(sides))

        # Read.
        lane_range = range(self.lanes + 1)
        read_first = pipe.hold(lanes_before(job.first), "read_first", lane_range, stages=2)
        read_limit = pipe.hold(lanes_before(job.limit), "read_limit", lane_range, stages=2)
        read_max = pipe.hold(job.max, "read_max", stages=2)
        read_valid = pipe.valid(pipe.valid(active, "read_valid"), "score_valid")
        sides = carry(carry((job.row, beat, last), "read_side"), "score_side")
        scores = pipe.holds(self.score, "score_now")

        # Subtract from the largest.
        depths = pipe.holds((read_max - z for z in scores), "depth")
        seens = [(lane >= read_first) & (lane < read_limit) for lane in range(self.lanes)]
        seens = pipe.holds(seens, "seen")
        valid = pipe.valid(read_valid, "depth_valid")
        sides = carry(sides, "depth_side")

        # Look up the fraction's power of two.
        fractions, octaves = [], []
        for i, (depth, seen) in enumerate(zip(depths, seens, strict=True)):
            table = memory.Memory(shape=unsigned(PROB_WIDTH), depth=EXP_LUT_LEN, init=exp_table())
            m.submodules[f"exp_{i}"] = table
            read = table.read_port()
            m.d.comb += read.addr.eq(depth[:SCORE_FRACTION])
            fractions.append(pipe.hold(read.data, f"fraction_{i}"))
            whole_octaves = depth[SCORE_FRACTION:]
            octaves.append(
                pipe.hold(
                    Mux(seen & (whole_octaves < _OCTAVES), whole_octaves, _OCTAVES),
                    f"octave_{i}",
                    range(_OCTAVES + 1),
                    stages=2,
                )
            )
        valid = pipe.valid(pipe.valid(valid, "table_valid"), "octave_valid")
        sides = carry(carry(sides, "table_side"), "octave_side")

        # Shift. The last octave is one past what leaves anything of a probability.
        shifted = pipe.holds(
            (
                Mux(octave == _OCTAVES, 0, with_half(fraction) >> octave)
                for fraction, octave in zip(fractions, octaves, strict=True)
            ),
            "shifted",
            PROB_WIDTH + 1,
        )
        valid = pipe.valid(valid, "shifted_valid")
        sides = carry(sides, "shifted_side")

        # Round.
        for i, x in enumerate(shifted):
            pipe.put(self.prob[i], round_half(x))
        row, beat, last = sides
        pipe.put(self.prob_valid, valid)
        pipe.put(self.prob_row, row)
        pipe.put(self.prob_beat, beat)
        valid, row = self.prob_valid, self.prob_row
        last = pipe.hold(last, "prob_last")

        # Sum.
        total, levels = pipe.tree(list(self.prob), operator.add, "sum")
        for level in range(levels):
            valid = pipe.valid(valid, f"sum_valid_{level}")
            row, last = carry((row, last), f"sum_side_{level}")
        running = Signal(sum_width)
        first = Signal(init=1)
        with m.If(valid):
            m.d.sync += [running.eq(Mux(first, 0, running) + total), first.eq(last)]
        m.d.comb += [
            sums.i.p.sum.eq(running),
            sums.i.p.meta.eq(pipe.hold(row, "finished_row")),
            sums.i.valid.eq(pipe.valid(valid & last, "finished_valid")),
        ]

        # Divide.
        wiring.connect(m, sums.o, divide.i_sum)
        result = divide.o_reciprocal
        m.d.comb += [
            self.o_row.valid.eq(result.valid),
            result.ready.eq(self.o_row.ready),
            self.o_row.p.row.eq(result.p.meta),
            self.o_row.p.reciprocal.eq(result.p.reciprocal),
            self.o_row.p.shift1.eq(result.p.shift1),
            self.o_row.p.shift2.eq(result.p.shift2),
            self.busy.eq(active | (on_way != 0) | ~divide.i_sum.ready),
        ]
        return m
