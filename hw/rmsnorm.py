"""RMSNorm of rows: of the residual, or of heads."""

import operator

from amaranth.hdl import Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from .ecp5.mult18x18d import Mult18x18d
from .inverse_root import ROOT_WIDTH, InverseRoot, root_layout
from .lib.arithmetic import bit_length, round_half, saturate, with_half
from .lib.credit_queue import CreditQueue
from .lib.parameter import check_lanes, check_multiple, check_power_of_two
from .lib.pipeline import Pipeline, shift_down
from .spec.formats import BLOCK_LEN, GAIN_WIDTH, HEAD_WIDTH, NORM_WIDTH, RESIDUAL_WIDTH

__all__ = ["RmsNorm", "norm_job_layout", "norm_result_layout"]

_ORM_WIDTH = RESIDUAL_WIDTH - 1
_SCALED_WIDTH = 16  # of an element of the row, scaled by the row's shift
_EPSILON_WIDTH = 48
_DIRECTION_WIDTH = 19  # of t, the element over the length of the row
_SHIFT_WIDTH = 6
_FINE_WIDTH = 3  # bits of a shift that are done in its first stage


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
    each, or ``beats + search_cycles`` where that is more. No output depends
    combinationally on an input.

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

    #: Stages from where a beat is read to the product of its elements.
    _PRODUCT_STAGES = 5 + Mult18x18d.LATENCY

    #: Stages from there to the result: to the direction, its product, what is left of that.
    _RESULT_STAGES = 3 + Mult18x18d.LATENCY + 5

    #: Cycles of a row besides its beats, a stage for each doubling of ``lanes`` and the search,
    #: from one job to the next.
    SEARCH_STAGES = _PRODUCT_STAGES + 5

    #: Cycles from where a beat is read for the second time to the offer of its result.
    EMIT_STAGES = _PRODUCT_STAGES + _RESULT_STAGES + CreditQueue.LATENCY

    @property
    def search_cycles(self):
        """Cycles of a row, besides its beats, from one job to the next."""
        return self.SEARCH_STAGES + (self.lanes.bit_length() - 1) + InverseRoot.LATENCY

    @property
    def first_cycles(self):
        """Cycles, besides its beats, from the job of a row that comes alone to its first result."""
        return self.search_cycles + self.EMIT_STAGES

    def elaborate(self, platform):
        m = Module()
        pipe = Pipeline(m)
        job = Signal(self._job)
        beat_shape = self.read_beat.shape()

        # The sum of squares, with EPS in it.
        total_width = (
            max(_EPSILON_WIDTH, 2 * (_SCALED_WIDTH - 1) + (self.max_dim - 1).bit_length()) + 1
        )
        total = Signal(total_width)
        m.submodules.search = search = InverseRoot(width=total_width)

        # What the second pass needs to know of a row.
        scale = data.StructLayout({
            "row": self.read_row.shape(),
            "dst_row": self.read_row.shape(),
            "last_beat": beat_shape,
            "gain_beat": self.gain_addr.shape(),
            "shrink": range(RESIDUAL_WIDTH - _SCALED_WIDTH + 1),
            "root": root_layout(total_width),
            "shift": unsigned(_SHIFT_WIDTH),
            "is_head": unsigned(1),
        })
        emit = Signal(scale)
        emit_valid = Signal()
        emit_beat = Signal(beat_shape)
        emit_free = Signal()

        # Issue: the first pass of a row goes before the second of the one before it, so that the
        # search that follows has that one's time. The second needs room for its results.
        stages = self.EMIT_STAGES - CreditQueue.LATENCY
        m.submodules.results = results = CreditQueue(self.o_norm.payload.shape(), latency=stages)
        connect(m, results.o, flipped(self.o_norm))
        sum_wanted = Signal()
        sum_beat = Signal(beat_shape)
        last_beat = Signal(beat_shape)
        shrink = Signal(scale["shrink"].shape)
        emits = Signal()
        m.d.comb += [
            last_beat.eq(job.beats - 1),
            emits.eq(emit_valid & ~sum_wanted & results.ready),
            results.enters.eq(emits),
        ]
        m.d.sync += [
            self.read_en.eq(emits | sum_wanted),
            self.read_row.eq(Mux(sum_wanted, job.row, emit.row)),
            self.read_beat.eq(Mux(sum_wanted, sum_beat, emit_beat)),
        ]

        # Read, shift, round, multiply.
        read_shrink = pipe.hold(Mux(sum_wanted, shrink, emit.shrink), "read_shrink", stages=3)
        by_root = pipe.hold(~sum_wanted, "by_root", stages=5)
        root = pipe.hold(emit.root.root, "root", stages=5)
        products = [
            self._multiply(m, pipe, lane, read_shrink, by_root, root) for lane in range(self.lanes)
        ]

        # Sum, beside EPS.
        square_sum, levels = pipe.tree(
            [x.as_unsigned()[: 2 * (_SCALED_WIDTH - 1)] for x in products], operator.add, "sum"
        )
        sum_stages = self._PRODUCT_STAGES + levels
        sum_last = pipe.hold(sum_beat == last_beat, "sum_last", stages=sum_stages)
        sum_valid = sum_wanted
        for stage in range(1, sum_stages + 1):
            sum_valid = pipe.valid(sum_valid, f"sum_valid_{stage}")
        eps_pending = Signal()
        with m.If(sum_valid):
            m.d.sync += total.eq(total + square_sum)
        # A total of 0 needs no root: it belongs to a row of zeros.
        m.d.comb += search.i_total.payload.eq(total)

        # First pass of a row, then the search.
        orm_len = Signal(range(_ORM_WIDTH + 1))
        length = Signal.like(orm_len)
        orm = Signal.like(self.orm)
        bit_length(m, orm, orm_len)
        m.d.comb += self.orm_row.eq(self.i_job.p.row)
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += self.i_job.ready.eq(1)
                m.d.sync += job.eq(self.i_job.p)
                with m.If(self.i_job.valid):
                    m.next = "READ"
            with m.State("READ"):
                m.d.sync += orm.eq(self.orm)
                m.next = "MEASURE"
            with m.State("MEASURE"):
                m.d.sync += length.eq(orm_len)
                m.next = "BEGIN"
            with m.State("BEGIN"):
                m.d.sync += [
                    shrink.eq(Mux(length < _SCALED_WIDTH, 0, length - (_SCALED_WIDTH - 1))),
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
                m.d.sync += sum_beat.eq(sum_beat + 1)
                with m.If(sum_beat == last_beat):
                    m.next = "DRAIN"
            with m.State("DRAIN"):
                with m.If(sum_valid & sum_last):
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
        last = emit_beat == emit.last_beat
        m.d.comb += emit_free.eq(~emit_valid | (emits & last))
        with m.If(emits):
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

        # Results.
        way = self._PRODUCT_STAGES
        gain_addr = pipe.hold(emit.gain_beat, "gain_beat", stages=way) + pipe.hold(
            emit_beat, "emit_beat_now", stages=way
        )
        m.d.comb += self.gain_addr.eq(pipe.hold(gain_addr, "gain_addr", self.gain_addr.shape()))
        gains = pipe.hold(self.gain, "gain")
        root_shift = pipe.hold(emit.root.shift, "root_shift", stages=way)
        shift = pipe.hold(emit.shift, "shift", stages=stages - 4)
        is_head = pipe.hold(emit.is_head, "is_head", stages=stages - 1)
        for lane, product in enumerate(products):
            direction = self._direction(pipe, lane, product, root_shift)
            result = self._gain(m, pipe, lane, direction, gains[lane], shift, is_head)
            m.d.comb += results.i.data[lane].eq(result)
        valid = emits
        for stage in range(1, stages + 1):
            valid = pipe.valid(valid, f"valid_{stage}")
        m.d.comb += [
            results.i_valid.eq(valid),
            results.i.row.eq(pipe.hold(emit.dst_row, "dst_row", stages=stages)),
            results.i.beat.eq(pipe.hold(emit_beat, "beat", stages=stages)),
            results.i.last.eq(pipe.hold(last, "last", stages=stages)),
            self.busy.eq(~self.i_job.ready | emit_valid | ~results.empty),
        ]
        return m

    def _multiply(self, m, pipe, lane, shrink, by_root, root):
        """Return what is read, scaled, times itself or the root: the same multiplier."""
        # The row's ORM bounds what is left to 16 bits and a sign, doubled.
        read = pipe.hold(self.read_data[lane], f"read_{lane}")
        shifted = pipe.hold(shift_down(read, shrink, _SCALED_WIDTH + 2), f"shifted_{lane}")
        scaled = pipe.hold(
            saturate(round_half(shifted), _SCALED_WIDTH), f"scaled_{lane}", signed(_SCALED_WIDTH)
        )
        m.submodules[f"scale_{lane}"] = multiplier = Mult18x18d(
            a_width=_SCALED_WIDTH, b_width=ROOT_WIDTH + 1
        )
        m.d.comb += [multiplier.a.eq(scaled), multiplier.b.eq(Mux(by_root, root, scaled))]
        return multiplier.p

    def _direction(self, pipe, lane, product, root_shift):
        """Return t, which is bounded by construction: x**2 is part of the sum R comes from."""
        fine = pipe.hold(
            with_half(product << 1) >> root_shift[:_FINE_WIDTH], f"direction_fine_{lane}"
        )
        coarse = pipe.hold(root_shift[_FINE_WIDTH:], f"direction_coarse_{lane}") << _FINE_WIDTH
        shifted = pipe.hold(
            (fine >> coarse)[: _DIRECTION_WIDTH + 1].as_signed(), f"direction_shifted_{lane}"
        )
        return pipe.hold(round_half(shifted), f"direction_{lane}", signed(_DIRECTION_WIDTH))

    def _gain(self, m, pipe, lane, direction, gain, shift, is_head):
        """Return the direction times the gain, shifted, rounded and saturated."""
        # The direction is a bit wider than the multiplier; its lowest bit goes beside.
        m.submodules[f"gain_{lane}"] = multiplier = Mult18x18d(
            a_width=_DIRECTION_WIDTH - 1, b_width=GAIN_WIDTH
        )
        m.d.comb += [multiplier.a.eq(direction >> 1), multiplier.b.eq(gain)]
        beside = pipe.hold(Mux(direction[0], gain, 0), f"beside_{lane}", stages=Mult18x18d.LATENCY)
        gained = pipe.hold(
            (multiplier.p << 1) + beside, f"gained_{lane}", signed(_DIRECTION_WIDTH + GAIN_WIDTH)
        )
        fine = pipe.hold((gained << 1) >> shift[:_FINE_WIDTH], f"fine_{lane}")
        coarse = pipe.hold(shift[_FINE_WIDTH:], f"coarse_{lane}") << _FINE_WIDTH
        gained_shifted = pipe.hold(fine >> coarse, f"gained_shifted_{lane}")
        rounded = pipe.hold(round_half(gained_shifted), f"rounded_{lane}")
        result = Mux(is_head, saturate(rounded, HEAD_WIDTH), saturate(rounded, NORM_WIDTH))
        return pipe.hold(result, f"result_{lane}", signed(NORM_WIDTH))
