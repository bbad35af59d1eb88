"""A register that cuts the path between two sides of a stream."""

from amaranth.hdl import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["Slice"]


class Slice(wiring.Component):
    """Pass every payload on through a register, with no path from ``o.ready`` to ``i.ready``.

    Parameters
    ----------
    shape : ShapeLike
        Shape of a payload.

    Members
    -------
    i : In(stream.Signature(shape))
        Payloads.
    o : Out(stream.Signature(shape))
        The same payloads, in order.
    flush : In(1)
        Forget all payloads, the one that arrives in this cycle included, for stopping only.

    Timing
    ------
    Takes one transfer per cycle and offers it one cycle later. No combinational paths.
    """

    #: Cycles from a transfer on ``i`` to its offer on ``o``, with no backpressure.
    LATENCY = 1

    def __init__(self, shape):
        self.shape = shape
        super().__init__({
            "i": In(stream.Signature(shape)),
            "o": Out(stream.Signature(shape)),
            "flush": In(1),
        })

    def elaborate(self, platform):
        m = Module()

        # `front` is on offer; `spare` catches the payload that arrives while it is stuck.
        front = Signal(self.shape, reset_less=True)
        spare = Signal(self.shape, reset_less=True)
        front_full = Signal()
        spare_full = Signal()
        m.d.comb += [
            self.i.ready.eq(~spare_full),
            self.o.valid.eq(front_full),
            self.o.payload.eq(front),
        ]

        arriving = self.i.valid & self.i.ready
        # While it is empty it takes whatever is there: its enable waits for nobody's readiness.
        with m.If(~spare_full):
            m.d.sync += spare.eq(self.i.payload)
        with m.If(front_full & ~self.o.ready):
            with m.If(arriving):
                m.d.sync += spare_full.eq(1)
        with m.Elif(spare_full):
            m.d.sync += [front.eq(spare), spare_full.eq(0)]
        with m.Else():
            m.d.sync += [front.eq(self.i.payload), front_full.eq(arriving)]
        with m.If(self.flush):
            m.d.sync += [front_full.eq(0), spare_full.eq(0)]

        return m
