"""From exact sums to the integers of the next operator."""

from itertools import pairwise

from amaranth.hdl import Array, Cat, Module, Mux, Shape, signed, unsigned
from amaranth.lib import data, enum, stream, wiring
from amaranth.lib.wiring import In, Out

from .ecp5.mult18x18d import Mult18x18d
from .lib.arithmetic import limit, round_half, with_half
from .lib.credit_queue import CreditQueue, free_running
from .spec.formats import (
    ACC_WIDTH,
    FFN_WIDTH,
    HEAD_WIDTH,
    MULTIPLIER_WIDTH,
    NORM_WIDTH,
    RESIDUAL_WIDTH,
    SCALED_WIDTH,
)

__all__ = ["OutWidth", "Requantiser"]

SHIFT1_WIDTH = 7
SHIFT2_WIDTH = 6

_FINE_WIDTH = 3  # bits of a shift that are done in its first stage
_RING_WIDTH = 1 << (SHIFT1_WIDTH - 1)
_PRODUCT_WIDTH = SCALED_WIDTH + MULTIPLIER_WIDTH


class OutWidth(enum.Enum, shape=unsigned(2)):
    """Width that results saturate to."""

    HEAD = 0
    NORM = 1
    FFN = 2
    RESIDUAL = 3


#: Width in bits that each member of `OutWidth` stands for, in their order and rising.
WIDTHS = {
    OutWidth.HEAD: HEAD_WIDTH,
    OutWidth.NORM: NORM_WIDTH,
    OutWidth.FFN: FFN_WIDTH,
    OutWidth.RESIDUAL: RESIDUAL_WIDTH,
}


class Requantiser(wiring.Component):
    """Scale each sum by a multiplier and shifts, round, add a bias, and saturate.

    Every lane of a transfer computes ``sim.golden.requantise``:
    ``SAT(RSH(RSH(acc, shift1) * multiplier, shift2) + bias, width)``; with ``bypass`` it computes
    ``SAT(RSH(acc, shift1), width)`` and looks at nothing else.

    Parameters
    ----------
    lanes : int
        Sums in a transfer. Positive.
    meta_shape : shape-like
        What travels along unchanged.

    Members
    -------
    i_acc : In(stream.Signature(StructLayout))
        ``acc``, ``multiplier``, ``bias``: one for each lane. ``shift1``: signed, from -63; negative
        shifts left. ``shift2``: unsigned. ``width``: an `OutWidth`. ``bypass``, ``meta``.
        ``RSH(acc, shift1)`` must fit signed ``SCALED_WIDTH`` bits, with ``bypass`` ``ACC_WIDTH``.
    o_act : Out(stream.Signature(StructLayout))
        ``data``: a result for each lane. ``clipped``: a bit for each lane, set where saturation
        changed the result. ``meta``.

    Timing
    ------
    Takes a transfer in every cycle, and offers its result :attr:`LATENCY` cycles later.
    ``i_acc.ready`` comes from registers.

    Raises
    ------
    ValueError
        ``lanes`` out of range.
    TypeError
        ``meta_shape`` is no shape.
    """

    #: Stages of the pipeline before and after the multiplier's own.
    _SCALE_STAGES = 4
    _FINISH_STAGES = 6

    #: Cycles from a transfer on ``i_acc`` to its result on ``o_act``, with no backpressure.
    LATENCY = _SCALE_STAGES + Mult18x18d.LATENCY + _FINISH_STAGES + CreditQueue.LATENCY

    def __init__(self, *, lanes, meta_shape):
        if not isinstance(lanes, int) or isinstance(lanes, bool) or lanes < 1:
            raise ValueError(f"lanes must be a positive integer, not {lanes!r}")
        try:
            Shape.cast(meta_shape)
        except TypeError:
            raise TypeError(f"meta_shape must be a shape, not {meta_shape!r}") from None
        self.lanes = lanes
        self.meta_shape = meta_shape
        super().__init__({
            "i_acc": In(
                stream.Signature(
                    data.StructLayout({
                        "acc": data.ArrayLayout(signed(ACC_WIDTH), lanes),
                        "shift1": signed(SHIFT1_WIDTH),
                        "multiplier": data.ArrayLayout(unsigned(MULTIPLIER_WIDTH), lanes),
                        "bypass": unsigned(1),
                        "shift2": unsigned(SHIFT2_WIDTH),
                        "bias": data.ArrayLayout(signed(RESIDUAL_WIDTH), lanes),
                        "width": OutWidth,
                        "meta": meta_shape,
                    })
                )
            ),
            "o_act": Out(
                stream.Signature(
                    data.StructLayout({
                        "data": data.ArrayLayout(signed(RESIDUAL_WIDTH), lanes),
                        "clipped": unsigned(lanes),
                        "meta": meta_shape,
                    })
                )
            ),
        })

    def elaborate(self, platform):
        m = Module()
        stages = self.LATENCY - CreditQueue.LATENCY
        pipe, result = free_running(m, self.i_acc, self.o_act, stages=stages)
        i = self.i_acc.p
        m.d.comb += result.meta.eq(pipe.hold(i.meta, "meta", stages=stages))

        # What the lanes share: lists of what it is after each stage.
        bypass = _staged(pipe, i.bypass, "bypass", self._SCALE_STAGES)
        shift1 = _staged(pipe, i.shift1, "shift1", 2)
        fine1 = _copies(pipe, i.shift1[:_FINE_WIDTH], "fine1", self.lanes)
        coarse1 = _copies(pipe, shift1[1][_FINE_WIDTH:-1], "coarse1", self.lanes)
        wraps = [shift1[2][:-1] >= _RING_WIDTH - place for place in range(ACC_WIDTH + 1)]
        left = shift1[2][-1]
        kept = pipe.hold(Cat(Mux(left, wrap, ~wrap) for wrap in wraps), "kept")
        # Without a multiplier nothing more is shifted or added.
        shifts = stages - self._FINISH_STAGES + 1
        shift2 = pipe.hold(i.shift2, "shift2")
        shift2 = pipe.hold(Mux(bypass[1], 0, shift2), "last_shift", stages=shifts - 2)
        fine2 = _copies(pipe, shift2[:_FINE_WIDTH], "fine2", self.lanes)
        coarse2 = pipe.hold(shift2[_FINE_WIDTH:], "last_coarse")
        coarse2 = _copies(pipe, coarse2, "coarse2", self.lanes)
        width = pipe.hold(i.width, "width", OutWidth, stages=stages - 1)
        for lane in range(self.lanes):
            scaled = self._scale(pipe, lane, (fine1[lane], coarse1[lane]), left, kept)
            product = self._multiply(m, pipe, lane, scaled, bypass)
            bias = pipe.hold(i.bias[lane], f"bias_in_{lane}")
            bias = pipe.hold(
                Mux(bypass[1], 0, bias), f"bias_{lane}", signed(RESIDUAL_WIDTH), stages=shifts + 1
            )
            # Shift; the half bit that is left behind is added with the bias.
            fine = pipe.hold(with_half(product) >> fine2[lane], f"fine_{lane}")
            shifted = pipe.hold(fine >> (coarse2[lane] << _FINE_WIDTH), f"shifted_{lane}")
            biased = pipe.hold(
                (shifted + Cat(1, bias).as_signed()) >> 1,
                f"biased_{lane}",
                signed(_PRODUCT_WIDTH + 1),
            )
            data, clipped = self._clip(pipe, lane, biased, width)
            m.d.comb += [result.data[lane].eq(data), result.clipped[lane].eq(clipped)]
        return m

    def _scale(self, pipe, lane, amounts, left, kept):
        """Return RSH(acc, shift1): a rotation either way, then what went round is replaced."""
        acc = pipe.hold(self.i_acc.p.acc[lane], f"acc_{lane}")
        sign = acc[-1]
        ring = Cat(with_half(acc), sign.replicate(_RING_WIDTH - ACC_WIDTH - 1))
        for stage, bits in enumerate(amounts):
            for place, bit in enumerate(bits, start=stage * _FINE_WIDTH):
                amount = 1 << place
                ring = Mux(bit, Cat(ring[amount:], ring[:amount]), ring)
            ring = pipe.hold(ring, f"ring_{lane}_{stage + 1}")
        sign = pipe.hold(sign, f"sign_{lane}")
        fill = pipe.hold(sign & ~left, f"fill_{lane}")
        shifted = (ring[: len(kept)] & kept) | (fill.replicate(len(kept)) & ~kept)
        return pipe.hold(round_half(shifted.as_signed()), f"scaled_{lane}", signed(ACC_WIDTH))

    def _multiply(self, m, pipe, lane, scaled, bypass):
        """Return scaled * multiplier, or with ``bypass`` what was scaled."""
        factor = pipe.hold(self.i_acc.p.multiplier[lane], f"factor_in_{lane}", stages=3)
        factor = pipe.hold(Mux(bypass[3], 0, factor), f"factor_{lane}")
        half = SCALED_WIDTH // 2
        products = []
        for name, part in (("low", scaled[:half]), ("high", scaled[half:SCALED_WIDTH])):
            m.submodules[f"{name}_{lane}"] = multiplier = Mult18x18d(
                a_width=half, b_width=MULTIPLIER_WIDTH + 1
            )
            m.d.comb += [multiplier.a.eq(part), multiplier.b.eq(factor)]
            products.append(multiplier.p)
        # The multiplier takes the low half's highest bit for a sign, which makes up for it.
        amends = Mux(bypass[4], scaled, Mux(scaled[half - 1], factor << half, 0))
        amends = pipe.hold(
            amends, f"amends_{lane}", signed(_PRODUCT_WIDTH), stages=Mult18x18d.LATENCY
        )
        low, high = products
        return pipe.hold((high << half) + low + amends, f"product_{lane}", signed(_PRODUCT_WIDTH))

    def _clip(self, pipe, lane, value, width):
        """Return a value clamped to its width, and whether that changed it, two stages later."""
        edges = [bits - 1 for bits in WIDTHS.values()]
        sign = value[-1]
        beyond = [
            (value[low:high] ^ sign.replicate(high - low)).any()
            for low, high in pairwise([*edges, len(value) - 1])
        ]
        below = [value[low:high].any() for low, high in pairwise([0, *edges])]
        beyond = pipe.hold(Cat(beyond), f"beyond_{lane}")
        below = pipe.hold(Cat(below), f"below_{lane}")
        value = pipe.hold(value[:RESIDUAL_WIDTH], f"value_{lane}")
        sign = pipe.hold(sign, f"result_sign_{lane}")
        clips = Array(
            beyond[index:].any() | (sign & ~below[: index + 1].any()) for index in range(len(edges))
        )[width.as_value()]
        limits = Array(limit(sign, bits) for bits in WIDTHS.values())[width.as_value()]
        data = pipe.hold(Mux(clips, limits, value.as_signed()), f"result_{lane}")
        return data, pipe.hold(clips, f"clip_{lane}")


def _copies(pipe, value, name, count):
    """Return the value a stage later, so many times: of one bit, a barrel shifter drives hundreds.

    Four registers hold it. They differ in what they hold, or begin with, as synthesis makes one of
    those that are alike.
    """
    copies = []
    for number in range(min(count, 4)):
        inverts, ones = divmod(number, 2)
        register = pipe.hold(
            ~value if inverts else value,
            f"{name}_{number}",
            len(value),
            init=((1 << len(value)) - 1) * ones,
        )
        copies.append(~register if inverts else register)
    return [copies[number % 4] for number in range(count)]


def _staged(pipe, value, name, stages):
    """Return the value and what it is after each of so many stages."""
    values = [value]
    for stage in range(1, stages + 1):
        values.append(pipe.hold(values[-1], f"{name}_{stage}"))
    return values
