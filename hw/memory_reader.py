"""One reading client of the memory controller."""

from amaranth.hdl import Module, Mux, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from hw.burst_cutter import REGION, BurstCutter, burst_layout, command_layout
from hw.lib.queue import Queue

__all__ = ["MemoryReader"]


class MemoryReader(wiring.Component):
    """Turn read commands into bursts whose beats always find room, and hand the beats out.

    Parameters
    ----------
    port_bytes : int
        Bytes of a beat.
    beats_width : int
        Width of a command's length.
    depth : int
        Beats that the data FIFO holds. A power of two from 4.
    max_burst : int
        Beats of a burst at most. A quarter of ``depth`` if that is less.
    region_count : int
        Regions.
    addr_width : int
        Width of an address, in bits.
    max_bursts : int
        Bursts on their way at most.

    Members
    -------
    i_command : In(stream.Signature(command_layout(beats_width)))
        Commands.
    o_data : Out(stream.Signature(data.ArrayLayout(unsigned(8), port_bytes)))
        Beats in the order of the commands.
    o_burst : Out(stream.Signature(burst_layout(max_burst)))
        Bursts to ask for: there is room for every beat.
    beat_valid, beat_last : In(1)
        A beat arrives; it is the last of its burst.
    beat_data : In(8 * port_bytes)
        Its bytes.
    burst_addr : Out(addr_width)
        Address of the burst that arriving beats belong to.
    regions, refused, refused_addr
        As for `hw.burst_cutter.BurstCutter`.
    flush : In(1)
        Forget all commands.
    drop : In(1)
        Ask for nothing from the next cycle on, and drop data.
    full : Out(1)
        A burst waits for room in the FIFO.
    outstanding : Out(1)
        Beats are on their way.
    idle : Out(1)
        Nothing is inside or on its way.

    Raises
    ------
    ValueError
        ``depth`` is no power of two from 4, or as `hw.burst_cutter.BurstCutter` raises.
    """

    def __init__(
        self,
        *,
        port_bytes,
        beats_width,
        depth,
        max_burst,
        region_count,
        addr_width=32,
        max_bursts=32,
    ):
        if not isinstance(depth, int) or depth < 4 or depth & (depth - 1):
            raise ValueError(f"depth must be a power of two from 4, not {depth!r}")
        self.depth = depth
        self.max_bursts = max_bursts
        # Bursts as long as the FIFO would leave the memory idle while the FIFO empties.
        self._cutter = BurstCutter(
            port_bytes=port_bytes,
            beats_width=beats_width,
            max_burst=min(max_burst, depth // 4),
            region_count=region_count,
            addr_width=addr_width,
        )
        super().__init__({
            "i_command": In(stream.Signature(command_layout(beats_width, addr_width=addr_width))),
            "o_data": Out(stream.Signature(data.ArrayLayout(unsigned(8), port_bytes))),
            "o_burst": Out(stream.Signature(burst_layout(max_burst, addr_width=addr_width))),
            "beat_valid": In(1),
            "beat_last": In(1),
            "beat_data": In(8 * port_bytes),
            "burst_addr": Out(addr_width),
            "regions": In(data.ArrayLayout(REGION, region_count)),
            "refused": Out(1),
            "refused_addr": Out(addr_width),
            "flush": In(1),
            "drop": In(1),
            "full": Out(1),
            "outstanding": Out(1),
            "idle": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.cutter = cutter = self._cutter
        m.submodules.beats = beats = Queue(self.o_data.payload.shape(), self.depth)
        m.submodules.sent = sent = Queue(self.o_burst.p.addr.shape(), self.max_bursts)
        connect(m, flipped(self.i_command), cutter.i_command)
        m.d.comb += [
            cutter.regions.eq(self.regions),
            cutter.flush.eq(self.flush),
            self.refused.eq(cutter.refused),
            self.refused_addr.eq(cutter.refused_addr),
        ]

        # `free` beats of the FIFO are neither held nor promised to a burst.
        burst = cutter.o_burst
        free = Signal(range(self.depth + 1), init=self.depth)
        fits = Signal()
        goes = Signal()  # found to fit; room only grows until it goes
        leaving = Signal()  # a cycle late
        m.d.comb += [
            fits.eq(burst.p.beats <= free),
            self.full.eq(burst.valid & ~fits & ~self.drop),
            self.o_burst.p.addr.eq(burst.p.addr),
            self.o_burst.p.beats.eq(burst.p.beats),
            # That of the cycle in which `drop` rises still goes, and is dropped as those before it.
            self.o_burst.valid.eq(goes & sent.i.ready),
            burst.ready.eq(self.o_burst.valid & self.o_burst.ready),
            sent.i.payload.eq(burst.p.addr),
            sent.i.valid.eq(self.o_burst.valid & self.o_burst.ready),
        ]
        m.d.sync += [
            leaving.eq(beats.o.valid & beats.o.ready),
            free.eq(free + leaving - Mux(sent.i.valid, burst.p.beats, 0)),
            goes.eq(burst.valid & fits & ~sent.i.valid),
        ]
        with m.If(self.drop):
            m.d.sync += [free.eq(self.depth), leaving.eq(0), goes.eq(0)]

        m.d.comb += [
            beats.i.payload.eq(self.beat_data),
            beats.i.valid.eq(self.beat_valid),
            beats.flush.eq(self.drop),
            self.burst_addr.eq(sent.o.payload),
            sent.o.ready.eq(self.beat_valid & self.beat_last),
            self.outstanding.eq(sent.level != 0),
            self.idle.eq(~self.outstanding & ~cutter.busy & (beats.level == 0)),
        ]
        connect(m, beats.o, flipped(self.o_data))

        return m
