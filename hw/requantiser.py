"""From exact sums to the integers of the next operator."""

from amaranth.hdl import Cat, Module, Mux, Shape, Signal, signed, unsigned
from amaranth.lib import data, enum, stream, wiring
from amaranth.lib.wiring import In, Out

from .lib.arithmetic import round_half, saturate, saturates, shift_left, with_half
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


class OutWidth(enum.Enum, shape=unsigned(2)):
    """Width that results saturate to."""

    HEAD = 0
    NORM = 1
    FFN = 2
    RESIDUAL = 3


#: Width in bits that each member of `OutWidth` stands for.
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
    ``i_acc.ready`` depends combinationally on ``o_act.ready``.

    Raises
    ------
    ValueError
        ``lanes`` out of range.
    TypeError
        ``meta_shape`` is no shape.
    """

    #: Cycles from a transfer on ``i_acc`` to its result on ``o_act``, with no backpressure.
    LATENCY = 6

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

        # The whole pipeline moves, or none of it does.
        advance = Signal()
        m.d.comb += advance.eq(self.o_act.ready | ~self.o_act.valid)
        m.d.comb += self.i_acc.ready.eq(advance)

        def staged(value, name, stages, *, init=False):
            """Return the value and what it is after each of so many stages."""
            values = [value]
            for stage in range(1, stages + 1):
                register = Signal.like(values[-1], name=f"{name}_{stage}", reset_less=not init)
                with m.If(advance):
                    m.d.sync += register.eq(values[-1])
                values.append(register)
            return values

        i = self.i_acc.p
        valid = staged(self.i_acc.valid, "valid", self.LATENCY, init=True)
        meta = staged(i.meta, "meta", self.LATENCY)
        width = staged(i.width, "width", self.LATENCY - 1)
        bypass = staged(i.bypass, "bypass", 4)
        multiplier = staged(i.multiplier, "multiplier", 2)
        shift2 = staged(i.shift2, "shift2", 3)
        bias = staged(i.bias, "bias", 4)

        left = Signal()
        left_amount = Signal(SHIFT1_WIDTH - 1)
        m.d.comb += left.eq(i.shift1 < 0)
        m.d.comb += left_amount.eq(-i.shift1)
        # Without a multiplier nothing more is shifted.
        last_shift = Signal(SHIFT2_WIDTH)
        m.d.comb += last_shift.eq(Mux(bypass[3], 0, shift2[3]))

        product_width = SCALED_WIDTH + MULTIPLIER_WIDTH
        results = []
        clips = []
        for lane in range(self.lanes):

            def register(width, name, *, lane=lane):
                return Signal(signed(width), name=f"{name}_{lane}", reset_less=True)

            # The half bit that a shift leaves behind is added in the stage after it.
            shifted = register(ACC_WIDTH + 1, "shifted")
            scaled = register(ACC_WIDTH, "scaled")
            product = register(product_width, "product")
            product_shifted = register(product_width + 1, "product_shifted")
            biased = register(product_width + 1, "biased")
            result = register(RESIDUAL_WIDTH, "result")
            clip = Signal(name=f"clip_{lane}", reset_less=True)

            acc = with_half(i.acc[lane])
            high = saturate(biased, RESIDUAL_WIDTH)
            clips_at = saturates(biased, RESIDUAL_WIDTH)
            for choice, bits in WIDTHS.items():
                if choice is not OutWidth.RESIDUAL:
                    chosen = width[5] == choice
                    high = Mux(chosen, saturate(biased, bits), high)
                    clips_at = Mux(chosen, saturates(biased, bits), clips_at)

            with m.If(advance):
                m.d.sync += [
                    shifted.eq(
                        Mux(
                            left,
                            shift_left(acc, left_amount, ACC_WIDTH + 1),
                            acc >> i.shift1[: SHIFT1_WIDTH - 1],
                        )
                    ),
                    scaled.eq(round_half(shifted)),
                    product.eq(
                        Mux(
                            bypass[2],
                            scaled,
                            scaled[:SCALED_WIDTH].as_signed() * multiplier[2][lane],
                        )
                    ),
                    product_shifted.eq(with_half(product) >> last_shift),
                    biased.eq(
                        (product_shifted + Cat(1, Mux(bypass[4], 0, bias[4][lane])).as_signed())
                        >> 1
                    ),
                    result.eq(high),
                    clip.eq(clips_at),
                ]
            results.append(result)
            clips.append(clip)

        m.d.comb += [
            self.o_act.valid.eq(valid[-1]),
            self.o_act.p.data.eq(Cat(results)),
            self.o_act.p.clipped.eq(Cat(clips)),
            self.o_act.p.meta.eq(meta[-1]),
        ]

        return m
