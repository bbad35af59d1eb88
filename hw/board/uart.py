"""Both directions of a serial line."""

from amaranth.hdl import Module
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from hw.lib.parameter import check_positive

from .uart_receiver import MIN_BIT_CYCLES, UartReceiver
from .uart_transmitter import UartTransmitter

__all__ = ["MAX_BAUD_ERROR", "MIN_BIT_CYCLES", "Uart", "bit_cycles"]

#: How far the baud rate may be from the one asked for. Both ends and the receiver's sampling
#: together have about half a bit in ten.
MAX_BAUD_ERROR = 0.02


def bit_cycles(clock_hz, baud):
    """Return the cycles of a bit that come closest to a baud rate.

    Raises
    ------
    TypeError, ValueError
        A parameter is not a positive integer, or the clock is too slow, or the rate would be off
        by more than `MAX_BAUD_ERROR`.
    """
    check_positive("clock_hz", clock_hz)
    check_positive("baud", baud)
    if clock_hz < MIN_BIT_CYCLES * baud:
        raise ValueError(
            f"baud must be at most {clock_hz // MIN_BIT_CYCLES} at a clock of {clock_hz} Hz, "
            f"not {baud!r}"
        )
    cycles = (2 * clock_hz + baud) // (2 * baud)
    error = clock_hz / cycles / baud - 1
    if abs(error) > MAX_BAUD_ERROR:
        raise ValueError(
            f"baud must be within {MAX_BAUD_ERROR:.0%} of a divisor of the clock: {baud!r} is off "
            f"by {abs(error):.1%} at {clock_hz} Hz"
        )
    return cycles


class Uart(wiring.Component):
    """Send and receive bytes: 8 data bits, no parity, one stop bit.

    Parameters
    ----------
    clock_hz, baud : int
        Frequency of the clock, and bits per second.

    Members
    -------
    rx : In(1)
        The line from the other side; may change at any time.
    tx : Out(1)
        The line to the other side.
    o_byte, framing_error, line_break, overrun : Out
        See `UartReceiver`.
    i_byte : In(stream.Signature(8))
        See `UartTransmitter`.

    Timing
    ------
    See `UartReceiver` and `UartTransmitter`.

    Raises
    ------
    TypeError, ValueError
        See `bit_cycles`.
    """

    def __init__(self, *, clock_hz, baud):
        self.bit_cycles = bit_cycles(clock_hz, baud)
        super().__init__({
            "rx": In(1, init=1),
            "tx": Out(1, init=1),
            "o_byte": Out(stream.Signature(8)),
            "framing_error": Out(1),
            "line_break": Out(1),
            "overrun": Out(1),
            "i_byte": In(stream.Signature(8)),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.receiver = receiver = UartReceiver(bit_cycles=self.bit_cycles)
        m.submodules.transmitter = transmitter = UartTransmitter(bit_cycles=self.bit_cycles)
        m.d.comb += [receiver.rx.eq(self.rx), self.tx.eq(transmitter.tx)]
        for name in ("framing_error", "line_break", "overrun"):
            m.d.comb += getattr(self, name).eq(getattr(receiver, name))
        connect(m, receiver.o_byte, flipped(self.o_byte))
        connect(m, flipped(self.i_byte), transmitter.i_byte)
        return m
