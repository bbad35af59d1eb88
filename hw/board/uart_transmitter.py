"""Puts bytes on a serial line."""

from amaranth.hdl import Cat, Const, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from hw.lib.parameter import check_positive

__all__ = ["UartTransmitter"]

_FRAME_BITS = 10  # start, eight of data with the lowest first, stop


class UartTransmitter(wiring.Component):
    """Send bytes with 8 data bits, no parity and one stop bit.

    Parameters
    ----------
    bit_cycles : int
        Cycles of a bit.

    Members
    -------
    i_byte : In(stream.Signature(8))
        Bytes.
    tx : Out(1)
        The line, high when idle.

    Timing
    ------
    The start bit begins the cycle after a byte is taken; the next byte is taken with the last
    cycle of the stop bit, so bytes follow each other without a gap. No combinational paths.

    Raises
    ------
    TypeError, ValueError
        ``bit_cycles`` is not a positive integer.
    """

    def __init__(self, *, bit_cycles):
        check_positive("bit_cycles", bit_cycles)
        self.bit_cycles = bit_cycles
        super().__init__({"i_byte": In(stream.Signature(8)), "tx": Out(1, init=1)})

    def elaborate(self, platform):
        m = Module()
        waiting = Signal(range(self.bit_cycles))  # cycles of this bit that are left
        bits = Signal(range(_FRAME_BITS))  # that are left after this one
        shift = Signal(_FRAME_BITS - 1, init=-1)
        bit_ends = Signal(init=1)  # ahead of time: a comparison off the critical path
        m.d.comb += self.i_byte.ready.eq(bit_ends & (bits == 0))
        with m.If(~bit_ends):
            m.d.sync += [waiting.eq(waiting - 1), bit_ends.eq(waiting == 1)]
        with m.Elif(self.i_byte.valid | (bits != 0)):
            m.d.sync += [
                waiting.eq(self.bit_cycles - 1),
                bit_ends.eq(self.bit_cycles == 1),
                bits.eq(bits - 1),
                Cat(self.tx, shift).eq(Cat(shift, Const(1, 1))),
            ]
            with m.If(bits == 0):
                m.d.sync += [
                    bits.eq(_FRAME_BITS - 1),
                    Cat(self.tx, shift).eq(Cat(Const(0, 1), self.i_byte.payload, Const(1, 1))),
                ]
        return m
