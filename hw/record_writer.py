"""Writes small records into memory."""

from amaranth.hdl import Cat, Const, Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from .burst_cutter import command_layout
from .lib.parameter import check_power_of_two
from .memory_controller import FETCH_BEATS_WIDTH
from .memory_writer import write_data_layout

__all__ = ["RecordWriter", "record_layout"]


def record_layout(record_bytes):
    """Return the layout of a record: where it goes, a multiple of its size, and what it says."""
    return data.StructLayout({"addr": 32, "data": 8 * record_bytes})


class RecordWriter(wiring.Component):
    """Write one record after the other.

    Parameters
    ----------
    port_bytes : int
        Width of the memory port, in bytes. A power of two from 4.
    record_bytes : int
        Size of a record, in bytes. A power of two from 4.

    Members
    -------
    i_record : In(stream of record_layout)
        What to write.
    o_write, o_wdata : Out
        To the memory controller.
    busy : Out(1)
        Something is yet to be taken by it.

    Timing
    ------
    A record is taken when all of the one before was. The command is on offer one cycle after it,
    its beats from the cycle after that one's transfer on: one, or as many as a record takes. The
    next is taken the cycle after its last beat.

    Raises
    ------
    TypeError, ValueError
        For a parameter that is not as above.
    """

    def __init__(self, *, port_bytes, record_bytes):
        check_power_of_two("port_bytes", port_bytes, least=4)
        check_power_of_two("record_bytes", record_bytes, least=4)
        self.port_bytes = port_bytes
        self.record_bytes = record_bytes
        super().__init__({
            "i_record": In(stream.Signature(record_layout(record_bytes))),
            "o_write": Out(stream.Signature(command_layout(FETCH_BEATS_WIDTH))),
            "o_wdata": Out(stream.Signature(write_data_layout(port_bytes))),
            "busy": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        port, size = self.port_bytes, self.record_bytes
        beats = max(1, size // port)
        port_bits = exact_log2(port)
        record = Signal(record_layout(size))
        beat = Signal(range(max(2, beats)))
        m.d.comb += [
            self.o_write.p.addr.eq(Cat(Const(0, port_bits), record.addr[port_bits:])),
            self.o_write.p.beats.eq(beats),
            self.busy.eq(1),
        ]
        if port > size:
            place = record.addr[exact_log2(size) : port_bits]
            strobe = (1 << size) - 1
            m.d.comb += [
                self.o_wdata.p.data.eq(record.data.replicate(port // size)),
                self.o_wdata.p.strobe.eq(strobe << (place << exact_log2(size))),
            ]
        else:
            m.d.comb += [
                self.o_wdata.p.data.eq(record.data.word_select(beat, 8 * port)),
                self.o_wdata.p.strobe.eq((1 << port) - 1),
            ]
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += [self.busy.eq(0), self.i_record.ready.eq(1)]
                m.d.sync += record.eq(self.i_record.payload)
                with m.If(self.i_record.valid):
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
