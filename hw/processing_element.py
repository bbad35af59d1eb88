"""One multiplier of the systolic array."""

from amaranth.hdl import Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .spec.formats import ACT_WIDTH, PSUM_WIDTH

__all__ = ["ProcessingElement"]


class ProcessingElement(wiring.Component):
    """Multiply activations that pass by with a weight that stays, and add to a passing sum.

    What comes in on one side leaves on the other a cycle later, for the neighbour.

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
    psum : In(signed(PSUM_WIDTH))
        Sum of the elements above; one cycle later than the activation it is to be added to.
    act_right, weight_down : Out
        ``act`` and ``weight`` for the neighbours.
    psum_down : Out(signed(PSUM_WIDTH))
        ``psum`` plus this element's product.

    Timing
    ------
    ``act`` to ``psum_down``: 2 cycles, a register behind the multiplier and one behind the adder.
    Everything else: 1 cycle.
    """

    act: In(signed(ACT_WIDTH))
    swap: In(1)
    weight: In(signed(ACT_WIDTH))
    capture: In(1)
    psum: In(signed(PSUM_WIDTH))
    act_right: Out(signed(ACT_WIDTH))
    weight_down: Out(signed(ACT_WIDTH))
    psum_down: Out(signed(PSUM_WIDTH))

    def elaborate(self, platform):
        m = Module()

        shadow = Signal(signed(ACT_WIDTH), reset_less=True)
        active = Signal(signed(ACT_WIDTH), reset_less=True)
        product = Signal(signed(2 * ACT_WIDTH), reset_less=True)
        act = Signal(signed(ACT_WIDTH), reset_less=True)
        weight = Signal(signed(ACT_WIDTH), reset_less=True)
        psum = Signal(signed(PSUM_WIDTH), reset_less=True)

        m.d.sync += [
            act.eq(self.act),
            weight.eq(self.weight),
            product.eq(self.act * Mux(self.swap, shadow, active)),
            psum.eq(self.psum + product),
        ]
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
