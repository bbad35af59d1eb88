"""A first-in, first-out queue between two streams."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import memory, stream, wiring
from amaranth.lib.wiring import In, Out

from .collision import UNDEFINED

__all__ = ["Queue"]


class Queue(wiring.Component):
    """Hold up to ``depth`` payloads and give them out in order.

    Parameters
    ----------
    shape : ShapeLike
        Shape of a payload.
    depth : int
        Payloads that fit. Up to `MAX_LUT_DEPTH` lie in registers or LUT memory, more in block RAM.

    Members
    -------
    i : In(stream.Signature(shape))
        Payloads.
    o : Out(stream.Signature(shape))
        The same payloads, in order.
    level : Out(range(depth + 1))
        Payloads inside: those taken from ``i`` and not yet given to ``o``.
    flush : In(1)
        Forget all payloads, the one that arrives in this cycle included. What is on offer is
        withdrawn, so this is for stopping only. ``i.ready`` does not depend on it.

    Timing
    ------
    Takes and gives one transfer per cycle; a payload is on offer `latency` cycles after its
    arrival in an empty queue: 1, or 2 from block RAM. No combinational paths but from ``flush``.

    Raises
    ------
    TypeError, ValueError
        ``depth`` is not an integer, or less than 2.
    """

    #: Deepest queue that is not put into block RAM.
    MAX_LUT_DEPTH = 32

    def __init__(self, shape, depth):
        if not isinstance(depth, int):
            raise TypeError(f"depth must be an integer, not {depth!r}")
        if depth < 2:
            raise ValueError(f"depth must be at least 2, not {depth!r}")
        self.shape = shape
        self.depth = depth
        super().__init__({
            "i": In(stream.Signature(shape)),
            "o": Out(stream.Signature(shape)),
            "level": Out(range(depth + 1)),
            "flush": In(1),
        })

    @property
    def latency(self):
        """Cycles from a transfer on ``i`` of an empty queue to its offer on ``o``."""
        return 1 if self.depth <= self.MAX_LUT_DEPTH else 2

    def elaborate(self, platform):
        m = Module()

        in_lut = self.depth <= self.MAX_LUT_DEPTH
        m.submodules.memory = store = memory.Memory(
            shape=self.shape, depth=self.depth, init=[], attrs={} if in_lut else UNDEFINED
        )
        write = store.write_port()
        read = store.read_port(domain="comb" if in_lut else "sync")

        def next_index(index):
            return Mux(index == self.depth - 1, 0, index + 1)

        write_index = Signal(range(self.depth))
        read_index = Signal(range(self.depth))
        arriving = Signal()
        leaving = Signal()
        reading = Signal()
        m.d.comb += [
            self.i.ready.eq(self.level != self.depth),
            arriving.eq(self.i.valid & self.i.ready),
            leaving.eq(self.o.valid & self.o.ready),
            write.addr.eq(write_index),
            write.data.eq(self.i.payload),
            write.en.eq(arriving),
            read.addr.eq(read_index),
            self.o.payload.eq(read.data),
        ]
        if in_lut:
            m.d.comb += [self.o.valid.eq(self.level != 0), reading.eq(leaving)]
        else:
            # The read port's register is the payload on offer; `stored` counts those behind it.
            stored = Signal(range(self.depth + 1))
            offered = Signal()
            m.d.comb += [
                self.o.valid.eq(offered),
                reading.eq((stored != 0) & (~offered | self.o.ready)),
                read.en.eq(reading),
            ]
            m.d.sync += stored.eq(stored + arriving - reading)
            with m.If(reading):
                m.d.sync += offered.eq(1)
            with m.Elif(leaving):
                m.d.sync += offered.eq(0)
            with m.If(self.flush):
                m.d.sync += [stored.eq(0), offered.eq(0)]

        m.d.sync += self.level.eq(self.level + arriving - leaving)
        with m.If(arriving):
            m.d.sync += write_index.eq(next_index(write_index))
        with m.If(reading):
            m.d.sync += read_index.eq(next_index(read_index))
        with m.If(self.flush):
            m.d.sync += [self.level.eq(0), write_index.eq(0), read_index.eq(0)]

        return m
