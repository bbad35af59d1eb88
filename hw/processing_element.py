"""One multiplier of the systolic array."""

from amaranth.hdl import Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .ecp5.mult18x18d import Mult18x18d
from .spec.formats import ACT_WIDTH

__all__ = ["ProcessingElement"]


class ProcessingElement(wiring.Component):
    """Multiply activations that pass by with a weight that stays, and add to a passing sum.

    What comes in on one side leaves on the other a cycle later, for the neighbour.

    Parameters
    ----------
    psum_width : int
        Width of the sum of this element and those above, in bits.
    registers : bool
        Whether the multiplier has registers of its own, for a high clock: `Mult18x18d` between two
        registers, which differs in nothing but the time that a product takes.
    site : str
        Where to place the multiplier on an ECP5; None leaves it open.

    Members
    -------
    act : In(signed(ACT_WIDTH))
        Activation, from the left.
    swap : In(1)
        Whether this activation is the first one for the shadow weight, which it makes active.
    weight : In(signed(ACT_WIDTH))
        Weight that passes by, from above.
    capture : In(1)
        Whether this weight is for this element: it becomes the shadow weight. With ``swap`` in the
        same cycle, the old shadow weight is made active.
    psum : In(signed(psum_width))
        Sum of the elements above, :meth:`product_latency` cycles later than the activation whose
        product is added to it.
    act_right, weight_down : Out
        ``act`` and ``weight`` for the neighbours.
    psum_down : Out(signed(psum_width))
        ``psum`` plus this element's product.

    Timing
    ------
    ``act`` to ``psum_down``: :meth:`product_latency` cycles to the product, and 1. Everything else:
    1 cycle.
    """

    def __init__(self, *, psum_width, registers=False, site=None):
        self._psum_width = psum_width
        self._registers = registers
        self._site = site
        super().__init__({
            "act": In(signed(ACT_WIDTH)),
            "swap": In(1),
            "weight": In(signed(ACT_WIDTH)),
            "capture": In(1),
            "psum": In(signed(psum_width)),
            "act_right": Out(signed(ACT_WIDTH)),
            "weight_down": Out(signed(ACT_WIDTH)),
            "psum_down": Out(signed(psum_width)),
        })

    @staticmethod
    def product_latency(registers):
        """Cycles from an activation to its product."""
        return 1 + Mult18x18d.LATENCY + 1 if registers else 1

    def elaborate(self, platform):
        m = Module()

        shadow = Signal(signed(ACT_WIDTH), reset_less=True)
        active = Signal(signed(ACT_WIDTH), reset_less=True)
        product = Signal(signed(2 * ACT_WIDTH), reset_less=True)
        act = Signal(signed(ACT_WIDTH), reset_less=True)
        weight = Signal(signed(ACT_WIDTH), reset_less=True)
        psum = Signal(signed(self._psum_width), reset_less=True)

        m.d.sync += [
            act.eq(self.act),
            weight.eq(self.weight),
            psum.eq(self.psum + product),
        ]
        if self._registers:
            # `act` and `active` are of the same cycle: registers straight into the multiplier's.
            m.submodules.multiplier = multiplier = Mult18x18d(
                a_width=ACT_WIDTH, b_width=ACT_WIDTH, site=self._site
            )
            m.d.comb += [multiplier.a.eq(act), multiplier.b.eq(active)]
            m.d.sync += product.eq(multiplier.p)
        else:
            m.d.sync += product.eq(self.act * Mux(self.swap, shadow, active))
        with m.If(self.swap):
            m.d.sync += active.eq(shadow)
        with m.If(self.capture):
            m.d.sync += shadow.eq(self.weight)
        m.d.comb += [
            self.act_right.eq(act),
            self.weight_down.eq(weight),
            self.psum_down.eq(psum),
        ]

        return m
