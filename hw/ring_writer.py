"""Writes entries of the token ring."""

from amaranth.hdl import Cat, Const, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from .burst_cutter import command_layout
from .memory_controller import FETCH_BEATS_WIDTH
from .memory_writer import write_data_layout
from .spec.csr import RING_ENTRY_BYTES

__all__ = ["RingWriter"]


class RingWriter(wiring.Component):
    """Write one entry: token, position, cycle count.

    Parameters
    ----------
    port_bytes : int
        Width of the memory port, in bytes.

    Members
    -------
    start : In(1)
        Write. ``addr``, ``token`` and ``pos`` must hold while ``busy``.
    addr : In(32)
        Address of the entry, a multiple of 16.
    token, pos : In(32)
        What it says.
    cycles : In(64)
        A running counter: the entry says what it was with ``start``.
    o_write, o_wdata : Out
        To the memory controller.
    busy : Out(1)
        Something is yet to be taken; high with ``start`` already.

    Timing
    ------
    The command is on offer one cycle after ``start``, its beats from the cycle after that one's
    transfer on: one, or as many as an entry takes.
    """

    def __init__(self, *, port_bytes):
        self.port_bytes = port_bytes
        super().__init__({
            "start": In(1),
            "addr": In(32),
            "token": In(32),
            "pos": In(32),
            "cycles": In(64),
            "o_write": Out(stream.Signature(command_layout(FETCH_BEATS_WIDTH))),
            "o_wdata": Out(stream.Signature(write_data_layout(port_bytes))),
            "busy": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        size = self.port_bytes
        beats = max(1, RING_ENTRY_BYTES // size)
        port_bits = exact_log2(size)
        started = Signal(64)  # what `cycles` was: an offer may not change
        entry = Cat(self.token, self.pos, started)
        beat = Signal(range(max(2, beats)))
        m.d.comb += [
            self.o_write.p.addr.eq(Cat(Const(0, port_bits), self.addr[port_bits:])),
            self.o_write.p.beats.eq(beats),
            self.busy.eq(1),
        ]
        if size > RING_ENTRY_BYTES:
            place = self.addr[exact_log2(RING_ENTRY_BYTES) : port_bits]
            copies = size // RING_ENTRY_BYTES
            m.d.comb += [
                self.o_wdata.p.data.eq(entry.replicate(copies)),
                self.o_wdata.p.strobe.eq(((1 << RING_ENTRY_BYTES) - 1) << (place << 4)),
            ]
        else:
            m.d.comb += [
                self.o_wdata.p.data.eq(entry.word_select(beat, 8 * size)),
                self.o_wdata.p.strobe.eq((1 << size) - 1),
            ]
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += self.busy.eq(self.start)
                m.d.sync += started.eq(self.cycles)
                with m.If(self.start):
                    m.next = "COMMAND"
            with m.State("COMMAND"):
                m.d.comb += self.o_write.valid.eq(1)
                m.d.sync += beat.eq(0)
                with m.If(self.o_write.ready):
                    m.next = "DATA"
            with m.State("DATA"):
                m.d.comb += self.o_wdata.valid.eq(1)
                with m.If(self.o_wdata.ready):
                    m.d.sync += beat.eq(beat + 1)
                    with m.If(beat == beats - 1):
                        m.next = "IDLE"
        return m
