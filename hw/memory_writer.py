"""The writing client of the memory controller."""

from amaranth.hdl import Module, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from hw.burst_cutter import REGION, BurstCutter, burst_layout, command_layout
from hw.lib.queue import Queue
from hw.lib.slice import Slice

__all__ = ["MemoryWriter", "write_data_layout"]


def write_data_layout(port_bytes):
    """Return the layout of a beat to write: its bytes, and which of them to write."""
    return data.StructLayout({
        "data": data.ArrayLayout(unsigned(8), port_bytes),
        "strobe": port_bytes,
    })


class MemoryWriter(wiring.Component):
    """Turn write commands and data into bursts, the data of each after its address.

    Parameters
    ----------
    port_bytes : int
        Bytes of a beat.
    beats_width : int
        Width of a command's length.
    max_burst : int
        Beats of a burst at most.
    region_count : int
        Regions.
    addr_width : int
        Width of an address, in bits.
    max_bursts : int
        Bursts without a response at most.

    Members
    -------
    i_command : In(stream.Signature(command_layout(beats_width)))
        Commands.
    i_data : In(stream.Signature(write_data_layout(port_bytes)))
        Beats in the order of the commands.
    o_burst : Out(stream.Signature(burst_layout(max_burst)))
        Bursts to announce.
    o_beat : Out(stream.Signature(...))
        Beats to write, ``data``, ``strobe`` and ``last``; those of a burst follow its transfer
        on ``o_burst``.
    response : In(1)
        The oldest burst is answered.
    burst_addr : Out(addr_width)
        Address of the oldest burst without a response.
    regions, refused, refused_addr
        As for `hw.burst_cutter.BurstCutter`.
    flush : In(1)
        Forget all commands, and drop data.
    drop : In(1)
        Begin nothing, and finish bursts without data: no byte is written.
    pending : Out(1)
        Some command is not answered in full.
    outstanding : Out(1)
        Bursts are begun and not answered.
    idle : Out(1)
        Nothing is inside.

    Raises
    ------
    ValueError
        As `hw.burst_cutter.BurstCutter` raises.
    """

    def __init__(
        self, *, port_bytes, beats_width, max_burst, region_count, addr_width=32, max_bursts=8
    ):
        self.port_bytes = port_bytes
        self.max_burst = max_burst
        self.max_bursts = max_bursts
        self._cutter = BurstCutter(
            port_bytes=port_bytes,
            beats_width=beats_width,
            max_burst=max_burst,
            region_count=region_count,
            addr_width=addr_width,
        )
        beat = data.StructLayout({
            "data": data.ArrayLayout(unsigned(8), port_bytes),
            "strobe": port_bytes,
            "last": 1,
        })
        super().__init__({
            "i_command": In(stream.Signature(command_layout(beats_width, addr_width=addr_width))),
            "i_data": In(stream.Signature(write_data_layout(port_bytes))),
            "o_burst": Out(stream.Signature(burst_layout(max_burst, addr_width=addr_width))),
            "o_beat": Out(stream.Signature(beat)),
            "response": In(1),
            "burst_addr": Out(addr_width),
            "regions": In(data.ArrayLayout(REGION, region_count)),
            "refused": Out(1),
            "refused_addr": Out(addr_width),
            "flush": In(1),
            "drop": In(1),
            "pending": Out(1),
            "outstanding": Out(1),
            "idle": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.cutter = cutter = self._cutter
        m.submodules.announced = announced = Slice(self.o_burst.payload.shape())
        m.submodules.sent = sent = Queue(self.o_burst.p.addr.shape(), self.max_bursts)
        # As deep as `sent`, so there is always room.
        m.submodules.lengths = lengths = Queue(self.o_burst.p.beats.shape(), self.max_bursts)
        # Between that queue's memory and the counting.
        m.submodules.length = length = Slice(self.o_burst.p.beats.shape())
        m.submodules.beat = beat = Slice(self.o_beat.payload.shape())
        m.submodules.arriving = arriving = Slice(self.i_data.payload.shape())
        connect(m, flipped(self.i_command), cutter.i_command)
        connect(m, announced.o, flipped(self.o_burst))
        connect(m, beat.o, flipped(self.o_beat))
        connect(m, lengths.o, length.i)
        m.d.comb += [
            cutter.regions.eq(self.regions),
            cutter.flush.eq(self.flush),
            self.refused.eq(cutter.refused),
            self.refused_addr.eq(cutter.refused_addr),
        ]

        burst = cutter.o_burst
        begins = burst.valid & sent.i.ready & announced.i.ready & ~self.drop
        m.d.comb += [
            burst.ready.eq(begins),
            announced.i.valid.eq(begins),
            announced.i.payload.eq(burst.payload),
            sent.i.valid.eq(begins),
            sent.i.payload.eq(burst.p.addr),
            sent.o.ready.eq(self.response),
            self.burst_addr.eq(sent.o.payload),
            lengths.i.valid.eq(self.o_burst.valid & self.o_burst.ready),
            lengths.i.payload.eq(self.o_burst.p.beats - 1),
        ]

        done = Signal(range(self.max_burst))
        moves = Signal()
        m.d.comb += [
            arriving.i.payload.eq(self.i_data.payload),
            arriving.i.valid.eq(self.i_data.valid & ~self.drop),
            arriving.flush.eq(self.flush),
            self.i_data.ready.eq(self.flush | (arriving.i.ready & ~self.drop)),
            moves.eq(length.o.valid & beat.i.ready & (arriving.o.valid | self.drop)),
            arriving.o.ready.eq(length.o.valid & beat.i.ready & ~self.drop),
            beat.i.valid.eq(moves),
            beat.i.p.data.eq(arriving.o.p.data),
            beat.i.p.last.eq(done == length.o.payload),
            length.o.ready.eq(moves & beat.i.p.last),
        ]
        with m.If(~self.drop):
            m.d.comb += beat.i.p.strobe.eq(arriving.o.p.strobe)
        with m.If(moves):
            m.d.sync += done.eq(done + 1)
            with m.If(beat.i.p.last):
                m.d.sync += done.eq(0)

        m.d.comb += [
            self.outstanding.eq(sent.level != 0),
            self.pending.eq(cutter.busy | self.outstanding),
            self.idle.eq(~self.pending),
        ]

        return m
