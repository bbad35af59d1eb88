"""The reciprocal of a sum of probabilities."""

from amaranth.hdl import Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from .lib.arithmetic import bit_length
from .lib.parameter import check_positive

__all__ = ["RECIPROCAL_WIDTH", "Reciprocal", "reciprocal_layout"]

RECIPROCAL_WIDTH = 17  #: of RC: it reaches 2**16
_UNIT_WIDTH = 16  # of lu, the sum brought to [2**15, 2**16)
_LEAST_LENGTH = 14  # bits of the smallest sum: the largest score alone adds 16383
_DIVIDEND_WIDTH = 31  # the dividend is 2 to this


def reciprocal_layout(meta_shape):
    """Return the layout of a reciprocal and its two shifts."""
    return data.StructLayout({
        "reciprocal": unsigned(RECIPROCAL_WIDTH),
        "shift1": signed(7),
        "shift2": unsigned(6),
        "meta": meta_shape,
    })


class Reciprocal(wiring.Component):
    """Divide 2**31 by a sum: ``sim.golden.attention.reciprocal``.

    Parameters
    ----------
    width : int
        Width of a sum, in bits.
    meta_shape : ShapeLike
        What travels with a sum.

    Members
    -------
    i_sum : In(stream of {sum: unsigned(width), meta})
        Sums, at least 16383.
    o_reciprocal : Out(stream of reciprocal_layout)
        ``reciprocal``: RC. ``shift1``: max(sl, 0). ``shift2``: 31 + min(sl, 0).

    Timing
    ------
    One sum at a time: its reciprocal is offered :attr:`LATENCY` cycles after its transfer, and the
    next sum is taken the cycle after the reciprocal.

    Raises
    ------
    TypeError, ValueError
        For a parameter that is not as above.
    """

    #: Cycles from a transfer on ``i_sum`` to the offer of its reciprocal.
    LATENCY = 3 + RECIPROCAL_WIDTH

    def __init__(self, *, width, meta_shape):
        check_positive("width", width)
        self.width = width
        self._sum = data.StructLayout({"sum": unsigned(width), "meta": meta_shape})
        super().__init__({
            "i_sum": In(stream.Signature(self._sum)),
            "o_reciprocal": Out(stream.Signature(reciprocal_layout(meta_shape))),
        })

    def elaborate(self, platform):
        m = Module()
        taken = Signal(self._sum)
        length = Signal(range(self.width + 1))
        bit_length(m, taken.sum, length)
        excess = Signal(range(self.width + 1))
        unit = Signal(_UNIT_WIDTH)
        rest = Signal(_UNIT_WIDTH + 1)
        left = Signal(signed(_UNIT_WIDTH + 2))
        fits = Signal()
        step = Signal(range(RECIPROCAL_WIDTH))
        result = self.o_reciprocal.p
        spare = _UNIT_WIDTH - _LEAST_LENGTH
        m.d.comb += [
            left.eq((rest << 1) - unit),
            fits.eq(left >= 0),
            result.meta.eq(taken.meta),
        ]
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += self.i_sum.ready.eq(1)
                m.d.sync += taken.eq(self.i_sum.p)
                with m.If(self.i_sum.valid):
                    m.next = "MEASURE"
            with m.State("MEASURE"):
                m.d.sync += excess.eq(Mux(length < _LEAST_LENGTH, 0, length - _LEAST_LENGTH))
                m.next = "SCALE"
            with m.State("SCALE"):
                m.d.sync += [
                    unit.eq((taken.sum << spare) >> excess),
                    result.shift1.eq(Mux(excess < spare, 0, excess - spare)),
                    result.shift2.eq(
                        Mux(excess < spare, _DIVIDEND_WIDTH - spare + excess, _DIVIDEND_WIDTH)
                    ),
                    # The dividend's upper bits, which are less than any unit.
                    rest.eq(1 << (_DIVIDEND_WIDTH - RECIPROCAL_WIDTH)),
                    result.reciprocal.eq(0),
                    step.eq(RECIPROCAL_WIDTH - 1),
                ]
                m.next = "DIVIDE"
            with m.State("DIVIDE"):
                m.d.sync += [
                    rest.eq(Mux(fits, left, rest << 1)),
                    result.reciprocal.eq((result.reciprocal << 1) | fits),
                    step.eq(step - 1),
                ]
                with m.If(step == 0):
                    m.next = "OFFER"
            with m.State("OFFER"):
                m.d.comb += self.o_reciprocal.valid.eq(1)
                with m.If(self.o_reciprocal.ready):
                    m.next = "IDLE"
        return m
