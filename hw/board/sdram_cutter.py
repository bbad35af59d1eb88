"""Cuts AXI bursts into segments: a few beats in one row of the SDRAM."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from hw.board.sdram_pins import DQ_WIDTH, SEGMENT_BEATS, segment_layout
from hw.lib.axi import BURST_INCR, RESP_DECERR, RESP_OKAY, RESP_SLVERR

__all__ = ["SdramCutter", "address_layout"]


def address_layout(addr_width, id_width):
    """Return the layout of what is used of an AXI address channel, by its names there."""
    return data.StructLayout({
        "id": id_width,
        "addr": addr_width,
        "len": 8,
        "size": 3,
        "burst": 2,
    })


class SdramCutter(wiring.Component):
    """Cut bursts at multiples of `SEGMENT_BEATS` beats, and find bank, row and column.

    From the lowest bit an address is byte, column, bank, row, so that a sequential stream walks
    through the banks, and the next row is opened while the one before is read.

    Parameters
    ----------
    write : bool
        What ``write`` of all segments is.
    data_bytes : int
        Bytes of a beat.
    addr_width, id_width : int
        Widths of the port.

    Members
    -------
    i_burst : In(stream.Signature(address_layout(addr_width, id_width)))
        Bursts of full-size beats. Others, and those not INCR, get SLVERR; addresses beyond the chip
        DECERR.
    o_segment : Out(stream.Signature(segment_layout(...)))
        Segments, in order. The offer is a register.

    Timing
    ------
    A segment every second cycle. ``i_burst.ready`` is a register.
    """

    def __init__(self, *, write, data_bytes, addr_width, id_width):
        self.write = write
        self.data_bytes = data_bytes
        beat_words = 8 * data_bytes // DQ_WIDTH
        super().__init__({
            "i_burst": In(stream.Signature(address_layout(addr_width, id_width))),
            "o_segment": Out(stream.Signature(segment_layout(beat_words, id_width))),
        })

    def elaborate(self, platform):
        m = Module()
        burst, segment = self.i_burst, self.o_segment
        beat_shift = exact_log2(self.data_bytes)
        place = [(name, segment.p[name].shape().width) for name in ("column", "bank", "row")]
        place_width = sum(width for _, width in place)
        step = exact_log2(SEGMENT_BEATS)

        # What is left of the burst: `more` beats after the first, which is at `at`.
        busy = Signal()
        at = Signal(place_width, reset_less=True)
        more = Signal(8, reset_less=True)
        resp = Signal(2, reset_less=True)
        burst_id = Signal.like(burst.p.id, reset_less=True)

        position = at[:step]
        end = Signal(step + 1)
        is_last = Signal()
        room = Signal(range(SEGMENT_BEATS + 1))
        free = Signal()
        m.d.comb += [
            burst.ready.eq(~busy),
            end.eq(position + more[:step]),
            is_last.eq(~end[step] & ~more[step:].any()),
            room.eq(SEGMENT_BEATS - position),
            free.eq(~segment.valid),
        ]
        with m.If(burst.valid & ~busy):
            beyond = burst.p.addr[beat_shift + place_width :].any()
            wrong = (burst.p.burst != BURST_INCR) | (burst.p.size != beat_shift)
            m.d.sync += [
                busy.eq(1),
                at.eq(burst.p.addr >> beat_shift),
                more.eq(burst.p.len),
                resp.eq(Mux(wrong, RESP_SLVERR, Mux(beyond, RESP_DECERR, RESP_OKAY))),
                burst_id.eq(burst.p.id),
            ]
        with m.If(segment.ready):
            m.d.sync += segment.valid.eq(0)
        with m.If(busy & free):
            m.d.sync += [
                busy.eq(~is_last),
                at.eq(Cat(Const(0, step), at[step:] + 1)),
                more.eq(more - room),
                segment.valid.eq(1),
                segment.p.write.eq(self.write),
                segment.p.resp.eq(resp),
                segment.p.id.eq(burst_id),
                segment.p.last.eq(is_last),
                segment.p.beats.eq(Mux(is_last, more[:step] + 1, room)),
                Cat(segment.p[name] for name, _ in place).eq(at),
            ]

        return m
