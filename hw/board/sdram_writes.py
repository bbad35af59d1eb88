"""The writing half of the SDRAM's AXI4 port."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from hw.board.sdram_cutter import SdramCutter, address_layout
from hw.board.sdram_data import beat_layout
from hw.board.sdram_pins import DQ_WIDTH, segment_layout
from hw.lib.queue import Queue

__all__ = ["SdramWrites", "response_layout"]


def response_layout(id_width):
    """Return the layout of the AXI write response channel, by its names there."""
    return data.StructLayout({"id": id_width, "resp": 2})


class SdramWrites(wiring.Component):
    """Offer segments whose beats have come, hand those out, and answer.

    Parameters
    ----------
    data_bytes : int
        Bytes of a beat.
    addr_width, id_width : int
        Widths of the port.
    bursts : int
        Bursts that may wait.
    beats : int
        Beats that may wait.
    responses : int
        Responses that may wait.

    Members
    -------
    i_burst : In(stream.Signature(address_layout(...)))
        Bursts.
    i_beat : In(stream.Signature(beat_layout(data_bytes)))
        Their beats, before or after.
    o_response : Out(stream.Signature(response_layout(id_width)))
        One for each burst, in order: what is read from now on sees it.
    o_segment : Out(stream.Signature(segment_layout(...)))
        What to write: all its beats are here.
    issued : In(1)
        ``beat`` is used in this cycle ...
    issued_id, issued_resp, issued_last : In
        ... and, if it is the last of its burst, answered so.
    beat : Out(beat_layout(data_bytes))
        The next beat.
    """

    def __init__(self, *, data_bytes, addr_width, id_width, bursts=4, beats=32, responses=8):
        self.bursts = bursts
        self.beats = beats
        self.responses = responses
        self._cutter = SdramCutter(
            write=True, data_bytes=data_bytes, addr_width=addr_width, id_width=id_width
        )
        segment = segment_layout(8 * data_bytes // DQ_WIDTH, id_width)
        super().__init__({
            "i_burst": In(stream.Signature(address_layout(addr_width, id_width))),
            "i_beat": In(stream.Signature(beat_layout(data_bytes))),
            "o_response": Out(stream.Signature(response_layout(id_width))),
            "o_segment": Out(stream.Signature(segment)),
            "issued": In(1),
            "issued_id": In(id_width),
            "issued_resp": In(2),
            "issued_last": In(1),
            "beat": Out(beat_layout(data_bytes)),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.bursts = bursts = Queue(self.i_burst.payload.shape(), self.bursts)
        m.submodules.cutter = cutter = self._cutter
        m.submodules.beats = beats = Queue(self.i_beat.payload.shape(), self.beats)
        m.submodules.responses = responses = Queue(self.o_response.payload.shape(), self.responses)
        connect(m, flipped(self.i_burst), bursts.i)
        connect(m, bursts.o, cutter.i_burst)
        connect(m, flipped(self.i_beat), beats.i)
        connect(m, responses.o, flipped(self.o_response))

        # `here` beats belong to no segment yet; `room` responses are neither held nor promised.
        segment = cutter.o_segment
        here = Signal(range(self.beats + 1))
        room = Signal(range(self.responses + 1), init=self.responses)
        fits = Signal()
        taken = self.o_segment.valid & self.o_segment.ready
        arriving = self.i_beat.valid & self.i_beat.ready
        answered = self.o_response.valid & self.o_response.ready
        m.d.comb += [
            self.o_segment.payload.eq(segment.payload),
            self.o_segment.valid.eq(fits),
            segment.ready.eq(taken),
        ]
        m.d.sync += [
            fits.eq(segment.valid & (segment.p.beats <= here) & (room != 0) & ~taken),
            here.eq(here + arriving - Mux(taken, segment.p.beats, 0)),
            room.eq(room + answered - (taken & segment.p.last)),
        ]

        m.d.comb += [
            self.beat.eq(beats.o.payload),
            beats.o.ready.eq(self.issued),
            responses.i.valid.eq(self.issued & self.issued_last),
            responses.i.p.id.eq(self.issued_id),
            responses.i.p.resp.eq(self.issued_resp),
        ]

        return m
