"""RMSNorm of rows: of the residual, or of heads."""

import operator

from amaranth.hdl import Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from .inverse_root import ROOT_WIDTH, InverseRoot, root_layout
from .lib.arithmetic import bit_length, round_half, saturate
from .lib.parameter import check_lanes, check_multiple, check_power_of_two
from .lib.pipeline import Pipeline, shift_down
from .spec.formats import BLOCK_LEN, GAIN_WIDTH, HEAD_WIDTH, NORM_WIDTH, RESIDUAL_WIDTH

__all__ = ["RmsNorm", "norm_job_layout", "norm_result_layout"]

_ORM_WIDTH = RESIDUAL_WIDTH - 1
_SCALED_WIDTH = 16  # of an element of the row, scaled by the row's shift
_EPSILON_WIDTH = 48
_DIRECTION_WIDTH = 19  # of t, the element over the length of the row
_SHIFT_WIDTH = 6


def norm_job_layout(*, lanes, max_dim, max_rows, max_gains):
    """Return the layout of a job: one row to normalise."""
    return data.StructLayout({
        "row": range(max_rows),
        "dst_row": range(max_rows),
        "beats": range(max_dim // lanes + 1),
        "gain_beat": range(max_gains // lanes),
        "epsilon": unsigned(_EPSILON_WIDTH),
        "shift": unsigned(_SHIFT_WIDTH),
        "is_head": unsigned(1),
    })


def norm_result_layout(*, lanes, max_dim, max_rows):
    """Return the layout of a beat of a normalised row."""
    return data.StructLayout({
        "data": data.ArrayLayout(signed(NORM_WIDTH), lanes),
        "row": range(max_rows),
        "beat": range(max_dim // lanes),
        "last": unsigned(1),
    })


class RmsNorm(wiring.Component):
    """Normalise rows to unit root mean square, and multiply by a gain.

    Numerics 3.2 step 2, ``sim.golden.rmsnorm.rms_norm``. A row is read twice: for its sum of
    squares, and to be scaled. The second pass of a row waits while the first of the next is read,
    and goes on while the inverse square root of the next is sought.

    Parameters
    ----------
    lanes : int
        Elements of a beat.
    max_dim : int
        Elements of the longest row. A multiple of 32.
    max_rows : int
        Rows. A power of two.
    max_gains : int
        Elements of all gains. A multiple of 32.

    Members
    -------
    i_job : In(stream of norm_job_layout)
        Rows to normalise. ``beats`` (at least 1): beats of the row. ``gain_beat``: first beat of
        its gain. ``epsilon``: EPS. ``shift``: SG. ``is_head``: results are cut off to 18 bits, not
        20. ``dst_row`` is handed on.
    read_en, read_row, read_beat : Out
        Read port of the rows.
    read_data : In(ArrayLayout(signed(32), lanes))
        The beat read in the last cycle.
    orm_row : Out(range(max_rows))
        Row whose ORM is wanted.
    orm : In(31)
        Its ORM, one cycle later.
    gain_addr : Out
        Beat of the gain that is wanted.
    gain : In(ArrayLayout(signed(16), lanes))
        That beat, one cycle later.
    o_norm : Out(stream of norm_result_layout)
        Normalised rows, beat by beat. ``row`` is the job's ``dst_row``.
    busy : Out(1)
        A row is inside.

    Timing
    ------
    The first beat of a row that comes alone is offered ``beats + first_cycles`` cycles after its
    job, the others a cycle each. Rows that follow each other closely take ``2 * beats`` cycles
    each, or ``beats + search_cycles`` where that is more. ``read_en``, ``read_row``,
    ``read_beat`` and ``gain_addr`` depend combinationally on ``o_norm.ready``.

    Raises
    ------
    TypeError, ValueError
        For a parameter that is not as above.
    """

    def __init__(self, *, lanes, max_dim, max_rows, max_gains):
        check_lanes(lanes)
        check_multiple("max_dim", max_dim, BLOCK_LEN)
        check_power_of_two("max_rows", max_rows, least=2)
        check_multiple("max_gains", max_gains, BLOCK_LEN)
        self.lanes = lanes
        self.max_dim = max_dim
        self.max_rows = max_rows
        self.max_gains = max_gains
        sizes = {"lanes": lanes, "max_dim": max_dim, "max_rows": max_rows}
        self._job = norm_job_layout(**sizes, max_gains=max_gains)
        super().__init__({
            "i_job": In(stream.Signature(self._job)),
            "read_en": Out(1),
            "read_row": Out(range(max_rows)),
            "read_beat": Out(range(max_dim // lanes)),
            "read_data": In(data.ArrayLayout(signed(RESIDUAL_WIDTH), lanes)),
            "orm_row": Out(range(max_rows)),
            "orm": In(_ORM_WIDTH),
            "gain_addr": Out(range(max_gains // lanes)),
            "gain": In(data.ArrayLayout(signed(GAIN_WIDTH), lanes)),
            "o_norm": Out(stream.Signature(norm_result_layout(**sizes))),
            "busy": Out(1),
        })

    @property
    def search_cycles(self):
        """Cycles of a row, besides its beats, from one job to the next."""
        return 7 + (self.lanes.bit_length() - 1) + InverseRoot.LATENCY

    @property
    def first_cycles(self):
        """Cycles, besides its beats, from the job of a row that comes alone to its first result."""
        return self.search_cycles + 9

    def elaborate(self, platform):
        m = Module()
        job = Signal(self._job)
        beat_shape = self.read_beat.shape()

        # The sum of squares, with EPS in it.
        total_width = (
            max(_EPSILON_WIDTH, 2 * (_SCALED_WIDTH - 1) + (self.max_dim - 1).bit_length()) + 1
        )
        total = Signal(total_width)
        root = root_layout(total_width)
        m.submodules.search = search = InverseRoot(width=total_width)

        # What the second pass needs to know of a row.
        scale = data.StructLayout({
            "row": self.read_row.shape(),
            "dst_row": self.read_row.shape(),
            "last_beat": beat_shape,
            "gain_beat": self.gain_addr.shape(),
            "shrink": range(RESIDUAL_WIDTH - _SCALED_WIDTH + 1),
            "root": root,
            "shift": unsigned(_SHIFT_WIDTH),
            "is_head": unsigned(1),
        })
        emit = Signal(scale)
        emit_valid = Signal()
        emit_beat = Signal(beat_shape)
        emit_free = Signal()

        # The pipeline of both passes moves, or none of it does.
        advance = Signal()
        m.d.comb += advance.eq(self.o_norm.ready | ~self.o_norm.valid)
        pipe = Pipeline(m, advance)

        # Issue: the first pass of a row goes before the second of the one before it, so that the
        # search that follows has that one's time.
        sum_wanted = Signal()
        sum_beat = Signal(beat_shape)
        last_beat = Signal(beat_shape)
        shrink = Signal(scale["shrink"].shape)
        m.d.comb += last_beat.eq(job.beats - 1)
        issue_valid = Signal()
        issue_emit = Signal()
        issue_beat = Signal(beat_shape)
        issue_row = Signal(self.read_row.shape())
        issue_last = Signal()
        m.d.comb += [
            issue_emit.eq(~sum_wanted),
            issue_valid.eq(emit_valid | sum_wanted),
            issue_beat.eq(Mux(issue_emit, emit_beat, sum_beat)),
            issue_row.eq(Mux(issue_emit, emit.row, job.row)),
            issue_last.eq(issue_beat == Mux(issue_emit, emit.last_beat, last_beat)),
        ]

        # Shift. While the pipeline waits, what has been read is read again.
        read_valid = pipe.valid(issue_valid, "read_valid")
        read_row = pipe.hold(issue_row, "read_row_now")
        read_beat = pipe.hold(issue_beat, "read_beat_now")
        read_emit = pipe.hold(issue_emit, "read_emit")
        read_last = pipe.hold(issue_last, "read_last")
        read_shrink = pipe.hold(Mux(issue_emit, emit.shrink, shrink), "read_shrink")
        read_scale = pipe.hold(emit, "read_scale", scale)
        m.d.comb += [
            self.read_en.eq(Mux(advance, issue_valid, read_valid)),
            self.read_row.eq(Mux(advance, issue_row, read_row)),
            self.read_beat.eq(Mux(advance, issue_beat, read_beat)),
        ]
        # The row's ORM bounds what is left to 16 bits and a sign, doubled.
        shifted = pipe.holds(
            (shift_down(x, read_shrink, _SCALED_WIDTH + 2) for x in self.read_data), "shifted"
        )
        shift_valid, shift_emit, shift_last, shift_beat, shift_scale = (
            pipe.valid(read_valid, "shift_valid"),
            pipe.hold(read_emit, "shift_emit"),
            pipe.hold(read_last, "shift_last"),
            pipe.hold(read_beat, "shift_beat"),
            pipe.hold(read_scale, "shift_scale", scale),
        )

        # Round.
        scaled = pipe.holds(
            (saturate(round_half(x), _SCALED_WIDTH) for x in shifted),
            "scaled",
            signed(_SCALED_WIDTH),
        )
        scaled_valid, scaled_emit, scaled_last, scaled_beat, scaled_scale = (
            pipe.valid(shift_valid, "scaled_valid"),
            pipe.hold(shift_emit, "scaled_emit"),
            pipe.hold(shift_last, "scaled_last"),
            pipe.hold(shift_beat, "scaled_beat"),
            pipe.hold(shift_scale, "scaled_scale", scale),
        )

        # Multiply, by itself or by the root: the same multiplier.
        products = []
        for i, x in enumerate(scaled):
            factor = Signal(signed(ROOT_WIDTH + 1), name=f"factor_{i}")
            m.d.comb += factor.eq(Mux(scaled_emit, scaled_scale.root.root, x))
            products.append(
                pipe.hold(x * factor, f"product_{i}", signed(_SCALED_WIDTH + ROOT_WIDTH))
            )
        product_emit = pipe.valid(scaled_valid & scaled_emit, "product_emit")
        product_sum = pipe.valid(scaled_valid & ~scaled_emit, "product_sum")
        product_last = pipe.hold(scaled_last, "product_last")
        product_beat = pipe.hold(scaled_beat, "product_beat")
        product_scale = pipe.hold(scaled_scale, "product_scale", scale)

        # Sum, beside EPS.
        square_sum, levels = pipe.tree(
            [x.as_unsigned()[: 2 * (_SCALED_WIDTH - 1)] for x in products], operator.add, "sum"
        )
        sum_valid, sum_last = product_sum, product_last
        for level in range(levels):
            sum_valid = pipe.valid(sum_valid, f"sum_valid_{level}")
            sum_last = pipe.hold(sum_last, f"sum_last_{level}")
        eps_pending = Signal()
        with m.If(advance & sum_valid):
            m.d.sync += total.eq(total + square_sum)
        # A total of 0 needs no root: it belongs to a row of zeros.
        m.d.comb += search.i_total.payload.eq(total)

        # First pass of a row, then the search.
        orm_len = Signal(range(_ORM_WIDTH + 1))
        bit_length(m, self.orm, orm_len)
        m.d.comb += self.orm_row.eq(self.i_job.p.row)
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += self.i_job.ready.eq(1)
                m.d.sync += job.eq(self.i_job.p)
                with m.If(self.i_job.valid):
                    m.next = "MEASURE"
            with m.State("MEASURE"):
                m.d.sync += [
                    shrink.eq(Mux(orm_len < _SCALED_WIDTH, 0, orm_len - (_SCALED_WIDTH - 1))),
                    sum_beat.eq(0),
                    total.eq(0),
                    eps_pending.eq(1),
                ]
                m.next = "SUM"
            with m.State("SUM"):
                m.d.comb += sum_wanted.eq(1)
                # The squares of the row are still far from the sum.
                with m.If(eps_pending):
                    m.d.sync += [total.eq(job.epsilon >> (shrink << 1)), eps_pending.eq(0)]
                with m.If(advance):
                    m.d.sync += sum_beat.eq(sum_beat + 1)
                    with m.If(sum_beat == last_beat):
                        m.next = "DRAIN"
            with m.State("DRAIN"):
                with m.If(advance & sum_valid & sum_last):
                    m.next = "SEARCH"
            with m.State("SEARCH"):
                m.d.comb += search.i_total.valid.eq(1)
                with m.If(search.i_total.ready):
                    m.next = "FOUND"
            with m.State("FOUND"):
                m.d.comb += search.o_root.ready.eq(emit_free)
                with m.If(search.o_root.valid & emit_free):
                    m.next = "IDLE"

        # Hand over to the second pass.
        emit_issued = Signal()
        m.d.comb += [
            emit_issued.eq(advance & issue_emit),
            emit_free.eq(~emit_valid | (emit_issued & (emit_beat == emit.last_beat))),
        ]
        with m.If(emit_issued):
            m.d.sync += emit_beat.eq(emit_beat + 1)
        with m.If(emit_free):
            m.d.sync += [
                emit_valid.eq(search.o_root.valid),
                emit_beat.eq(0),
                emit.row.eq(job.row),
                emit.dst_row.eq(job.dst_row),
                emit.last_beat.eq(last_beat),
                emit.gain_beat.eq(job.gain_beat),
                emit.shrink.eq(shrink),
                emit.root.eq(search.o_root.p),
                emit.shift.eq(job.shift),
                emit.is_head.eq(job.is_head),
            ]

        # Shift to t, which is bounded by construction: x**2 is part of the sum that R comes from.
        direction_shifted = pipe.holds(
            (shift_down(x << 1, product_scale.root.shift, _DIRECTION_WIDTH + 1) for x in products),
            "direction_shifted",
        )
        direction_shifted_valid = pipe.valid(product_emit, "direction_shifted_valid")
        gain_addr = Signal.like(self.gain_addr)
        m.d.comb += gain_addr.eq(product_scale.gain_beat + product_beat)
        sides = [
            (
                product_last,
                product_beat,
                product_scale.dst_row,
                product_scale.shift,
                product_scale.is_head,
                gain_addr,
            )
        ]

        def carry(name):
            sides.append(tuple(pipe.hold(side, f"{name}_{i}") for i, side in enumerate(sides[-1])))

        carry("direction_shifted_side")

        # Round.
        directions = pipe.holds(
            (round_half(x) for x in direction_shifted), "direction", signed(_DIRECTION_WIDTH)
        )
        direction_valid = pipe.valid(direction_shifted_valid, "direction_valid")
        carry("direction_side")
        m.d.comb += self.gain_addr.eq(Mux(advance, sides[1][-1], sides[2][-1]))

        # Gain.
        gained = pipe.holds(
            (t * gain for t, gain in zip(directions, self.gain, strict=True)), "gained"
        )
        gained_valid = pipe.valid(direction_valid, "gained_valid")
        carry("gained_side")

        # Shift.
        gained_shifted = pipe.holds(((x << 1) >> sides[3][3] for x in gained), "gained_shifted")
        gained_shifted_valid = pipe.valid(gained_valid, "gained_shifted_valid")
        carry("gained_shifted_side")

        # Round and saturate.
        last, beat, row, _, is_head, _ = sides[-1]
        for i, x in enumerate(gained_shifted):
            rounded = round_half(x)
            result = Mux(is_head, saturate(rounded, HEAD_WIDTH), saturate(rounded, NORM_WIDTH))
            pipe.put(self.o_norm.p.data[i], result)
        pipe.put(self.o_norm.valid, gained_shifted_valid)
        pipe.put(self.o_norm.p.last, last)
        pipe.put(self.o_norm.p.beat, beat)
        pipe.put(self.o_norm.p.row, row)

        m.d.comb += self.busy.eq(
            ~self.i_job.ready
            | emit_valid
            | read_valid
            | shift_valid
            | scaled_valid
            | product_emit
            | direction_shifted_valid
            | direction_valid
            | gained_valid
            | gained_shifted_valid
            | self.o_norm.valid
        )
        return m
