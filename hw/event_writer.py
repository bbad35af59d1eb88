"""Writes events into their ring in memory."""

from amaranth.hdl import Cat, Const, Module
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from .record_writer import RecordWriter
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
    That of `RecordWriter`.
    """

    def __init__(self, *, port_bytes):
        self.writer = RecordWriter(port_bytes=port_bytes, record_bytes=EVENT_BYTES)
        super().__init__({
            "i_event": In(stream.Signature(event_layout())),
            "addr": In(32),
            "cycles": In(64),
            "o_write": Out(self.writer.o_write.signature),
            "o_wdata": Out(self.writer.o_wdata.signature),
            "busy": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.writer = writer = self.writer
        event, record = self.i_event, writer.i_record
        fields = {name: event.p[name] for name, _ in event_layout()} | {_STAMPED: self.cycles}
        connect(m, writer.o_write, flipped(self.o_write))
        connect(m, writer.o_wdata, flipped(self.o_wdata))
        m.d.comb += [
            record.valid.eq(event.valid),
            event.ready.eq(record.ready),
            record.p.addr.eq(self.addr),
            record.p.data.eq(Cat(fields.get(name, Const(0, width)) for name, width in EVENT)),
            self.busy.eq(writer.busy),
        ]
        return m
