"""Writes events into their ring in memory."""

from amaranth.hdl import Cat, Const, Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from .burst_cutter import command_layout
from .memory_controller import FETCH_BEATS_WIDTH
from .memory_writer import write_data_layout
from .spec.requests import EVENT, EVENT_BYTES

__all__ = ["EventWriter", "event_layout"]

_STAMPED = "cycle"  # the field that this unit adds


def event_layout():
    """Return the layout of an event as `hw.spec.requests` has it, but for ``cycle`` and spares."""
    return data.StructLayout({
        name: width for name, width in EVENT if name != _STAMPED and not name.startswith("spare")
    })


class EventWriter(wiring.Component):
    """Write one event after the other, each with the cycle in which it was taken.

    Parameters
    ----------
    port_bytes : int
        Width of the memory port, in bytes.

    Members
    -------
    i_event : In(stream of event_layout)
        What to write.
    addr : In(32)
        Where, with the event: a multiple of `EVENT_BYTES`.
    cycles : In(64)
        A running counter.
    o_write, o_wdata : Out
        To the memory controller.
    busy : Out(1)
        Something is yet to be taken by it.

    Timing
    ------
    An event is taken when all of the one before was. The command is on offer one cycle after it,
    its beats from the cycle after that one's transfer on: one, or as many as an event takes.
    """

    def __init__(self, *, port_bytes):
        self.port_bytes = port_bytes
        super().__init__({
            "i_event": In(stream.Signature(event_layout())),
            "addr": In(32),
            "cycles": In(64),
            "o_write": Out(stream.Signature(command_layout(FETCH_BEATS_WIDTH))),
            "o_wdata": Out(stream.Signature(write_data_layout(port_bytes))),
            "busy": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        size = self.port_bytes
        beats = max(1, EVENT_BYTES // size)
        port_bits = exact_log2(size)
        event = Signal(event_layout())
        addr = Signal(32)
        stamp = Signal(64)
        fields = {name: getattr(event, name) for name, _ in event_layout()} | {_STAMPED: stamp}
        entry = Cat(fields.get(name, Const(0, width)) for name, width in EVENT)
        beat = Signal(range(max(2, beats)))
        m.d.comb += [
            self.o_write.p.addr.eq(Cat(Const(0, port_bits), addr[port_bits:])),
            self.o_write.p.beats.eq(beats),
            self.busy.eq(1),
        ]
        if size > EVENT_BYTES:
            place = addr[exact_log2(EVENT_BYTES) : port_bits]
            strobe = (1 << EVENT_BYTES) - 1
            m.d.comb += [
                self.o_wdata.p.data.eq(entry.replicate(size // EVENT_BYTES)),
                self.o_wdata.p.strobe.eq(strobe << (place << exact_log2(EVENT_BYTES))),
            ]
        else:
            m.d.comb += [
                self.o_wdata.p.data.eq(entry.word_select(beat, 8 * size)),
                self.o_wdata.p.strobe.eq((1 << size) - 1),
            ]
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += [self.busy.eq(0), self.i_event.ready.eq(1)]
                m.d.sync += [
                    event.eq(self.i_event.payload),
                    addr.eq(self.addr),
                    stamp.eq(self.cycles),
                ]
                with m.If(self.i_event.valid):
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
