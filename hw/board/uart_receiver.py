"""Takes bytes from a serial line."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.wiring import In, Out

from hw.lib.parameter import check_positive

__all__ = ["MIN_BIT_CYCLES", "UartReceiver"]

MIN_BIT_CYCLES = 5  #: shortest bit that has three samples, and a cycle to look at them


class UartReceiver(wiring.Component):
    """Receive bytes with 8 data bits, no parity and one stop bit.

    A bit is what two of three samples around its middle say, the start bit included: what is no
    longer than the distance of two samples is not heard. The next start bit is looked for as soon
    as the stop bit is sampled, so a sender may be faster or slower by 4 % less the rounding of
    ``bit_cycles``.

    Parameters
    ----------
    bit_cycles : int
        Cycles of a bit, from `MIN_BIT_CYCLES`.

    Members
    -------
    rx : In(1)
        The line, high when idle. May change at any time.
    o_byte : Out(stream.Signature(8))
        Bytes.
    framing_error : Out(1)
        High for one cycle: a byte had no stop bit, and is not passed on.
    line_break : Out(1)
        High for one cycle, together with ``framing_error``: all its bits were low.
    overrun : Out(1)
        High for one cycle: a byte was lost because the one before was not taken.

    Timing
    ------
    A byte is on offer about 9.6 bits after its start bit begins. No combinational paths.

    Raises
    ------
    TypeError, ValueError
        ``bit_cycles`` is not an integer, or too small.
    """

    def __init__(self, *, bit_cycles):
        check_positive("bit_cycles", bit_cycles)
        if bit_cycles < MIN_BIT_CYCLES:
            raise ValueError(f"bit_cycles must be at least {MIN_BIT_CYCLES}, not {bit_cycles!r}")
        self.bit_cycles = bit_cycles
        super().__init__({
            "rx": In(1, init=1),
            "o_byte": Out(stream.Signature(8)),
            "framing_error": Out(1),
            "line_break": Out(1),
            "overrun": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        line = Signal(init=1)
        m.submodules.synchronise = FFSynchronizer(self.rx, line, init=1)

        # Samples lie an eighth of a bit apart, around the middle.
        distance = max(1, self.bit_cycles // 8)
        middle = self.bit_cycles // 2
        sampled_at = (middle - distance, middle, middle + distance)

        phase = Signal(range(self.bit_cycles))
        samples = Signal(3)
        sampled = Signal()  # the cycle after the last of three samples
        bit = Signal()
        running = Signal()
        last_phase = Signal()
        m.d.comb += [
            bit.eq((samples[0] & samples[1]) | (samples[2] & (samples[0] | samples[1]))),
            last_phase.eq(phase == self.bit_cycles - 1),
        ]
        m.d.sync += sampled.eq(running & (phase == sampled_at[-1]))
        with m.Switch(phase):
            with m.Case(*sampled_at):
                m.d.sync += samples.eq(Cat(line, samples))
        with m.If(running):
            m.d.sync += phase.eq(phase + 1)
            with m.If(last_phase):
                m.d.sync += phase.eq(0)

        shift = Signal(8)
        count = Signal(range(8))
        m.d.sync += [self.framing_error.eq(0), self.line_break.eq(0), self.overrun.eq(0)]
        with m.If(self.o_byte.ready):
            m.d.sync += self.o_byte.valid.eq(0)

        with m.FSM():
            with m.State("IDLE"):
                with m.If(~line):
                    # This cycle is the first of the start bit.
                    m.d.sync += [running.eq(1), phase.eq(1)]
                    m.next = "START"
            with m.State("START"):
                with m.If(sampled):
                    m.next = "DATA"
                    with m.If(bit):
                        m.d.sync += running.eq(0)
                        m.next = "IDLE"
            with m.State("DATA"), m.If(sampled):
                m.d.sync += [shift.eq(Cat(shift[1:], bit)), count.eq(count + 1)]
                with m.If(count == 7):
                    m.next = "STOP"
            with m.State("STOP"), m.If(sampled):
                m.d.sync += running.eq(0)
                with m.If(bit):
                    m.next = "IDLE"
                    with m.If(self.o_byte.valid & ~self.o_byte.ready):
                        m.d.sync += self.overrun.eq(1)
                    with m.Else():
                        m.d.sync += [self.o_byte.payload.eq(shift), self.o_byte.valid.eq(1)]
                with m.Else():
                    m.d.sync += [self.framing_error.eq(1), self.line_break.eq(shift == 0)]
                    m.next = "WAIT"
            with m.State("WAIT"):
                with m.If(line):
                    m.next = "IDLE"
        return m
