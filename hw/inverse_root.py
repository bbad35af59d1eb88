"""The inverse square root of a sum of squares."""

from amaranth.hdl import Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from .lib.arithmetic import bit_length
from .lib.parameter import check_positive

__all__ = ["ROOT_WIDTH", "InverseRoot", "root_layout"]

ROOT_WIDTH = 17  #: of R: it reaches 2**16
_UNIT_WIDTH = 16  # of u, the total brought to [2**14, 2**16)
_SQUARE_WIDTH = 46  # R * R * u is at most 2 to this


def root_layout(width):
    """Return the layout of an inverse root: ``root`` is R, ``shift`` 7 + sv/2."""
    return data.StructLayout({"root": unsigned(ROOT_WIDTH), "shift": range((width + 1) // 2 + 1)})


class InverseRoot(wiring.Component):
    """Find R and sv of a total V: numerics 3.2 step 2, ``sim.golden.rmsnorm.reciprocal_root``.

    Parameters
    ----------
    width : int
        Width of a total, in bits.

    Members
    -------
    i_total : In(stream of unsigned(width))
        Totals, at least 1.
    o_root : Out(stream of root_layout(width))
        ``root``: R. ``shift``: 7 + sv/2, never negative, unlike 6 + sv/2.

    Timing
    ------
    One total at a time: its root is offered :attr:`LATENCY` cycles after its transfer, and the
    next total is taken the cycle after the root.

    Raises
    ------
    TypeError, ValueError
        For a parameter that is not as above.
    """

    #: Cycles from a transfer on ``i_total`` to the offer of its root.
    LATENCY = 3 + ROOT_WIDTH

    def __init__(self, *, width):
        check_positive("width", width)
        self.width = width
        super().__init__({
            "i_total": In(stream.Signature(unsigned(width))),
            "o_root": Out(stream.Signature(root_layout(width))),
        })

    def elaborate(self, platform):
        m = Module()
        total = Signal(self.width)
        place = Signal(range(self.width))  # of the highest bit
        bit_length(m, total[1:], place)
        root = Signal(ROOT_WIDTH)
        shift = Signal(self.o_root.p.shift.shape())
        step = Signal(range(ROOT_WIDTH))

        # R is found bit by bit from the top. ``room`` is 2**46 - R*R*u. Setting bit k costs
        # (2*R*2**k + 2**2k) * u of it: the sum of these two, of which the next step needs
        # 2*R*2**(k-1) * u, half of it, and 2**(2k-2) * u, a quarter.
        room = Signal(_SQUARE_WIDTH + 1)
        linear = Signal(_SQUARE_WIDTH + 3)
        square = Signal(2 * (ROOT_WIDTH - 1) + _UNIT_WIDTH)
        left = Signal(signed(_SQUARE_WIDTH + 5))
        fits = Signal()
        m.d.comb += [
            left.eq(room - (linear + square)),
            fits.eq(left >= 0),
        ]
        m.d.comb += [self.o_root.p.root.eq(root), self.o_root.p.shift.eq(shift)]

        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += self.i_total.ready.eq(1)
                m.d.sync += total.eq(self.i_total.payload)
                with m.If(self.i_total.valid):
                    m.next = "MEASURE"
            with m.State("MEASURE"):
                # sv is the number of bits less 16, made even upwards.
                m.d.sync += shift.eq(place >> 1)
                m.next = "SCALE"
            with m.State("SCALE"):
                m.d.sync += [
                    square.eq(
                        ((total << (_UNIT_WIDTH - 2)) >> (shift << 1))[:_UNIT_WIDTH]
                        << (2 * (ROOT_WIDTH - 1))
                    ),
                    room.eq(1 << _SQUARE_WIDTH),
                    linear.eq(0),
                    root.eq(0),
                    step.eq(ROOT_WIDTH - 1),
                ]
                m.next = "SEEK"
            with m.State("SEEK"):
                m.d.sync += [
                    root.eq((root << 1) | fits),
                    # Not the sum with what fits: that would be one adder after the other.
                    linear.eq(Mux(fits, (linear >> 1) + square, linear >> 1)),
                    square.eq(square >> 2),
                    step.eq(step - 1),
                ]
                with m.If(fits):
                    m.d.sync += room.eq(left)
                with m.If(step == 0):
                    m.next = "OFFER"
            with m.State("OFFER"):
                m.d.comb += self.o_root.valid.eq(1)
                with m.If(self.o_root.ready):
                    m.next = "IDLE"
        return m
