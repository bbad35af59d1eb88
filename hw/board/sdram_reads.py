"""The reading half of the SDRAM's AXI4 port."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from hw.board.sdram_cutter import SdramCutter, address_layout
from hw.board.sdram_pins import DQ_WIDTH, segment_layout
from hw.lib.axi import RESP_OKAY
from hw.lib.queue import Queue
from hw.lib.slice import Slice

__all__ = ["SdramReads", "read_layout"]


def read_layout(data_bytes, id_width):
    """Return the layout of the AXI read data channel, by its names there."""
    return data.StructLayout({"id": id_width, "data": 8 * data_bytes, "resp": 2, "last": 1})


class SdramReads(wiring.Component):
    """Offer segments for whose beats there is room, and hand the beats out.

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
    in_flight : int
        Beats that are asked for and have not come, at most.

    Members
    -------
    i_burst : In(stream.Signature(address_layout(...)))
        Bursts.
    o_beat : Out(stream.Signature(read_layout(...)))
        Their beats, in order, whatever their ID. An error reads as 0.
    o_segment : Out(stream.Signature(segment_layout(...)))
        What to read: there is room for it.
    issued : In(1)
        A beat is asked for in this cycle ...
    issued_id, issued_resp, issued_last : In
        ... and will be answered so.
    word_valid : In(1)
        The oldest beat that was asked for has come.
    word : In(8 * data_bytes)
        Its bytes.
    """

    def __init__(self, *, data_bytes, addr_width, id_width, bursts=4, beats=32, in_flight=8):
        self.bursts = bursts
        self.beats = beats
        self.in_flight = in_flight
        self._cutter = SdramCutter(
            write=False, data_bytes=data_bytes, addr_width=addr_width, id_width=id_width
        )
        segment = segment_layout(8 * data_bytes // DQ_WIDTH, id_width)
        super().__init__({
            "i_burst": In(stream.Signature(address_layout(addr_width, id_width))),
            "o_beat": Out(stream.Signature(read_layout(data_bytes, id_width))),
            "o_segment": Out(stream.Signature(segment)),
            "issued": In(1),
            "issued_id": In(id_width),
            "issued_resp": In(2),
            "issued_last": In(1),
            "word_valid": In(1),
            "word": In(8 * data_bytes),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.bursts = bursts = Queue(self.i_burst.payload.shape(), self.bursts)
        m.submodules.cutter = cutter = self._cutter
        m.submodules.beats = beats = Queue(self.o_beat.payload.shape(), self.beats)
        m.submodules.offer = offer = Slice(self.o_beat.payload.shape())
        answer = data.StructLayout({
            name: beats.i.p[name].shape() for name in ("id", "resp", "last")
        })
        m.submodules.answers = answers = Queue(answer, self.in_flight)
        connect(m, flipped(self.i_burst), bursts.i)
        connect(m, bursts.o, cutter.i_burst)
        connect(m, beats.o, offer.i)
        connect(m, offer.o, flipped(self.o_beat))

        # `free` beats are neither held nor promised.
        segment = cutter.o_segment
        free = Signal(range(self.beats + 1), init=self.beats)
        fits = Signal()
        taken = self.o_segment.valid & self.o_segment.ready
        leaving = offer.i.valid & offer.i.ready
        m.d.comb += [
            self.o_segment.payload.eq(segment.payload),
            self.o_segment.valid.eq(fits),
            segment.ready.eq(taken),
        ]
        m.d.sync += [
            fits.eq(segment.valid & (segment.p.beats <= free) & ~taken),
            free.eq(free + leaving - Mux(taken, segment.p.beats, 0)),
        ]

        m.d.comb += [
            answers.i.valid.eq(self.issued),
            answers.i.p.id.eq(self.issued_id),
            answers.i.p.resp.eq(self.issued_resp),
            answers.i.p.last.eq(self.issued_last),
            answers.o.ready.eq(self.word_valid),
            beats.i.valid.eq(self.word_valid),
            beats.i.p.id.eq(answers.o.p.id),
            beats.i.p.resp.eq(answers.o.p.resp),
            beats.i.p.last.eq(answers.o.p.last),
            beats.i.p.data.eq(Mux(answers.o.p.resp == RESP_OKAY, self.word, 0)),
        ]

        return m
