"""Give one stream to several."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from .parameter import check_positive

__all__ = ["Fork"]


class Fork(wiring.Component):
    """Offer every payload to several streams, each of which takes it once, when it can.

    Parameters
    ----------
    shape : ShapeLike
        Shape of a payload.
    count : int
        Streams that take it. Positive.

    Members
    -------
    i : In(stream.Signature(shape))
        Payloads. One is taken when the last of the streams takes it.
    o : Out(stream.Signature(shape)).array(count)
        The same payloads, in order.

    Timing
    ------
    A payload passes in the cycle in which it comes: ``o[n].valid`` follows ``i.valid``, and
    ``i.ready`` every ``o[n].ready``, combinationally.

    Raises
    ------
    TypeError, ValueError
        ``count`` is not a positive integer.
    """

    def __init__(self, shape, count):
        check_positive("count", count)
        self.count = count
        super().__init__({
            "i": In(stream.Signature(shape)),
            "o": Out(stream.Signature(shape)).array(count),
        })

    def elaborate(self, platform):
        m = Module()
        taken = Signal(self.count)  # the payload on offer, by some of the streams
        done = Signal(self.count)
        for number, out in enumerate(self.o):
            m.d.comb += [
                out.valid.eq(self.i.valid & ~taken[number]),
                out.payload.eq(self.i.payload),
            ]
        m.d.comb += [
            done.eq(taken | Cat(out.ready for out in self.o)),
            self.i.ready.eq(done.all()),
        ]
        with m.If(self.i.valid):
            m.d.sync += taken.eq(done & ~self.i.ready.replicate(self.count))
        return m
