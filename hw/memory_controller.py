"""The chip's only way to memory: one AXI4 port, two reading clients, one writing client."""

from amaranth.hdl import Cat, Module, Mux, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped
from amaranth.utils import exact_log2

from hw.burst_cutter import REGION, BurstCutter, burst_layout, command_layout
from hw.lib.axi import BURST_INCR, RESP_DECERR, Axi4
from hw.lib.slice import Slice
from hw.memory_reader import MemoryReader
from hw.memory_writer import MemoryWriter, write_data_layout
from hw.spec.csr import ERRORS

__all__ = ["FETCH_BEATS_WIDTH", "MemoryController", "REGIONS", "STREAM_BEATS_WIDTH"]

STREAM_BEATS_WIDTH = 24  #: width of the length of a streaming command, in beats
FETCH_BEATS_WIDTH = 8  #: width of the length of a fetch or write command, in beats

#: Where the chip may go: the image only reading, the others reading and writing.
REGIONS = data.StructLayout({"image": REGION, "kv": REGION, "host": REGION})

_STREAM_ID, _FETCH_ID, _WRITE_ID = 0, 1, 0
_WRITABLE = ("kv", "host")
# Bufferable and modifiable; data, secure, unprivileged.
_CACHE, _PROT = 0b0011, 0b000


class MemoryController(wiring.Component):
    """Serve three clients on one AXI4 port.

    Commands are checked against the regions, cut into bursts, and sent as soon as there is room
    for their data, so ``rready`` and ``bready`` are always high and the memory may answer the two
    read IDs in any order. Fetches go before streams. After a refused command its client does
    nothing more until ``halt``.

    Parameters
    ----------
    port_bytes : int
        Bytes of a beat. A power of two.
    stream_depth : int
        Beats that the streaming client's FIFO holds. A power of two from 4. It streams without
        a gap up to a memory latency of about three quarters of this, in cycles.
    fetch_depth : int
        Beats that the fetching client's FIFO holds. A power of two from 4.
    max_burst : int
        Beats of a burst at most: a power of two. Reads are also cut to a quarter of their FIFO.
    addr_width : int
        Width of an address, in bits.

    Members
    -------
    axi : Out(Axi4(...))
        The memory. Reads of ID 0 stream, of ID 1 fetch; all writes have ID 0.
    i_stream : In(stream.Signature(command_layout(STREAM_BEATS_WIDTH)))
        What to stream: ``addr`` in bytes, a multiple of ``port_bytes``, and ``beats``.
    o_stream : Out(stream.Signature(data.ArrayLayout(unsigned(8), port_bytes)))
        Its beats, in order.
    i_fetch : In(stream.Signature(command_layout(FETCH_BEATS_WIDTH)))
        What to fetch.
    o_fetch : Out(stream.Signature(data.ArrayLayout(unsigned(8), port_bytes)))
        Its beats, in order.
    i_write : In(stream.Signature(command_layout(FETCH_BEATS_WIDTH)))
        Where to write.
    i_wdata : In(stream.Signature(write_data_layout(port_bytes)))
        What to write there, in the same order.
    writes_pending : Out(1)
        Some write taken from ``i_write`` is not answered yet; high from the cycle after.
    regions : In(REGIONS)
        What may be touched. Must not change while not ``idle``.
    bus_offset : In(addr_width)
        Added to addresses as they go out on the bus: regions, commands and errors know nothing of
        it. A multiple of 4096 that must not change while not ``idle``.
    error_valid : Out(1)
        High for one cycle: something went wrong. Of several in one cycle one is reported.
    error_cause : Out(range(max(ERRORS.values()) + 1))
        ``bad_address``, ``axi_slverr`` or ``axi_decerr`` of `hw.spec.csr.ERRORS`.
    error_addr : Out(addr_width)
        Address of the refused command, or of the burst, in bytes.
    halt : In(1)
        From the next cycle on begin nothing; take and drop commands and data of all clients; finish
        what is on the bus, without writing. Offers on ``o_stream`` and ``o_fetch`` are withdrawn.
        When it falls, commands are taken at once and begun when the bus is quiet.
    idle : Out(1)
        Nothing is inside or on its way. (An offer that waits inside one of the queues counts.)
    read_beat, write_beat : Out(1)
        A beat moves on the port in this cycle.
    stream_full : Out(1)
        The streaming client has a burst to ask for and no room for it.

    Timing
    ------
    ``arvalid`` rises `LATENCY` cycles after a command; data is on offer three cycles (two for a
    ``fetch_depth`` of 32 or less) after its beat. Streams one beat per cycle, across bursts and
    across commands. An error is shown one cycle after its cause, that of a beat two. No
    combinational paths but from ``halt``.

    Raises
    ------
    ValueError
        A size is no power of two, a FIFO holds fewer than 4 beats, or ``max_burst`` is more than
        a page of 4 KiB or 256 beats.
    """

    #: Cycles from a command to its first burst on the port.
    LATENCY = 2 + BurstCutter.LATENCY

    def __init__(self, *, port_bytes, stream_depth, fetch_depth=16, max_burst=64, addr_width=32):
        for name, depth in (("stream_depth", stream_depth), ("fetch_depth", fetch_depth)):
            if not isinstance(depth, int) or depth < 4 or depth & (depth - 1):
                raise ValueError(f"{name} must be a power of two from 4, not {depth!r}")
        self.port_bytes = port_bytes
        self.max_burst = max_burst
        self.addr_width = addr_width
        shared = {"port_bytes": port_bytes, "max_burst": max_burst, "addr_width": addr_width}
        self._stream = MemoryReader(
            **shared,
            beats_width=STREAM_BEATS_WIDTH,
            depth=stream_depth,
            region_count=len(list(REGIONS)),
        )
        self._fetch = MemoryReader(
            **shared,
            beats_width=FETCH_BEATS_WIDTH,
            depth=fetch_depth,
            region_count=len(list(REGIONS)),
        )
        self._write = MemoryWriter(
            **shared, beats_width=FETCH_BEATS_WIDTH, region_count=len(_WRITABLE)
        )
        beat = stream.Signature(data.ArrayLayout(unsigned(8), port_bytes))
        short = stream.Signature(command_layout(FETCH_BEATS_WIDTH, addr_width=addr_width))
        long = stream.Signature(command_layout(STREAM_BEATS_WIDTH, addr_width=addr_width))
        super().__init__({
            "axi": Out(Axi4(data_bytes=port_bytes, addr_width=addr_width)),
            "i_stream": In(long),
            "o_stream": Out(beat),
            "i_fetch": In(short),
            "o_fetch": Out(beat),
            "i_write": In(short),
            "i_wdata": In(stream.Signature(write_data_layout(port_bytes))),
            "writes_pending": Out(1),
            "regions": In(REGIONS),
            "bus_offset": In(addr_width),
            "error_valid": Out(1),
            "error_cause": Out(range(max(ERRORS.values()) + 1)),
            "error_addr": Out(addr_width),
            "halt": In(1),
            "idle": Out(1),
            "read_beat": Out(1),
            "write_beat": Out(1),
            "stream_full": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.stream = streams = self._stream
        m.submodules.fetch = fetches = self._fetch
        m.submodules.write = writes = self._write
        clients = (streams, fetches, writes)

        connect(m, flipped(self.i_stream), streams.i_command)
        connect(m, flipped(self.i_fetch), fetches.i_command)
        connect(m, flipped(self.i_write), writes.i_command)
        connect(m, flipped(self.i_wdata), writes.i_data)
        connect(m, streams.o_data, flipped(self.o_stream))
        connect(m, fetches.o_data, flipped(self.o_fetch))

        # After halt has fallen, what is still on its way belongs to nobody.
        stopping = Signal()
        with m.If(self.halt):
            m.d.sync += stopping.eq(1)
        with m.Elif(~Cat(client.outstanding for client in clients).any()):
            m.d.sync += stopping.eq(0)
        for client in clients:
            m.d.comb += [client.flush.eq(self.halt), client.drop.eq(self.halt | stopping)]
        readable = Cat(self.regions[name] for name, _ in REGIONS)
        writable = Cat(self.regions[name] for name in _WRITABLE)
        m.d.comb += [
            streams.regions.eq(readable),
            fetches.regions.eq(readable),
            writes.regions.eq(writable),
            self.writes_pending.eq(writes.pending),
            self.stream_full.eq(streams.full),
            self.idle.eq(Cat(client.idle for client in clients).all()),
        ]

        read = self._elaborate_reads(m, streams, fetches)
        self._elaborate_writes(m, writes)
        self._elaborate_errors(m, read, streams, fetches, writes)
        return m

    def _elaborate_reads(self, m, streams, fetches):
        """Ask for what both clients want; return the beat that came, and whose it is."""
        burst = burst_layout(self.max_burst, addr_width=self.addr_width)
        asked = data.StructLayout({"burst": burst, "fetch": 1})
        m.submodules.asked = ask = Slice(asked)
        m.d.comb += [
            ask.i.valid.eq(fetches.o_burst.valid | streams.o_burst.valid),
            ask.i.p.fetch.eq(fetches.o_burst.valid),
            fetches.o_burst.ready.eq(ask.i.ready),
            streams.o_burst.ready.eq(ask.i.ready & ~fetches.o_burst.valid),
        ]
        chosen = Signal(burst)
        with m.If(fetches.o_burst.valid):
            m.d.comb += chosen.eq(fetches.o_burst.payload)
        with m.Else():
            m.d.comb += chosen.eq(streams.o_burst.payload)

        axi = self.axi
        m.d.comb += [
            ask.i.p.burst.addr.eq(chosen.addr + self.bus_offset),
            ask.i.p.burst.beats.eq(chosen.beats),
            *self._address("ar", ask.o.p.burst.addr, ask.o.p.burst.beats),
            axi.arid.eq(Mux(ask.o.p.fetch, _FETCH_ID, _STREAM_ID)),
            axi.arvalid.eq(ask.o.valid),
            ask.o.ready.eq(axi.arready),
            axi.rready.eq(1),
            self.read_beat.eq(axi.rvalid),
        ]
        # Whose beat it is, before many levels and counts go by it.
        fields = {"data": axi.rdata.shape(), "resp": 2, "last": 1}
        beat = Signal(data.StructLayout(fields), reset_less=True)
        of_stream, of_fetch = Signal(), Signal()
        m.d.sync += [
            beat.data.eq(axi.rdata),
            beat.resp.eq(axi.rresp),
            beat.last.eq(axi.rlast),
            of_fetch.eq(axi.rvalid & (axi.rid == _FETCH_ID)),
            of_stream.eq(axi.rvalid & (axi.rid == _STREAM_ID)),
        ]
        for client, valid in ((streams, of_stream), (fetches, of_fetch)):
            m.d.comb += [
                client.beat_valid.eq(valid),
                client.beat_last.eq(beat.last),
                client.beat_data.eq(beat.data),
            ]
        return beat, of_stream, of_fetch

    def _elaborate_writes(self, m, writes):
        axi = self.axi
        m.d.comb += [
            *self._address("aw", writes.o_burst.p.addr + self.bus_offset, writes.o_burst.p.beats),
            axi.awid.eq(_WRITE_ID),
            axi.awvalid.eq(writes.o_burst.valid),
            writes.o_burst.ready.eq(axi.awready),
            axi.wdata.eq(writes.o_beat.p.data),
            axi.wstrb.eq(writes.o_beat.p.strobe),
            axi.wlast.eq(writes.o_beat.p.last),
            axi.wvalid.eq(writes.o_beat.valid),
            writes.o_beat.ready.eq(axi.wready),
            axi.bready.eq(1),
            writes.response.eq(axi.bvalid),
            self.write_beat.eq(axi.wvalid & axi.wready),
        ]

    def _address(self, channel, addr, beats):
        axi = self.axi
        return [
            getattr(axi, f"{channel}addr").eq(addr),
            getattr(axi, f"{channel}len").eq(beats - 1),
            getattr(axi, f"{channel}size").eq(exact_log2(self.port_bytes)),
            getattr(axi, f"{channel}burst").eq(BURST_INCR),
            getattr(axi, f"{channel}cache").eq(_CACHE),
            getattr(axi, f"{channel}prot").eq(_PROT),
        ]

    def _elaborate_errors(self, m, read, streams, fetches, writes):
        axi = self.axi
        beat, of_stream, of_fetch = read

        def response_cause(resp):
            return Mux(resp == RESP_DECERR, ERRORS["axi_decerr"], ERRORS["axi_slverr"])

        # Bit 1 tells an error from OKAY and EXOKAY.
        read_addr = Mux(of_fetch, fetches.burst_addr, streams.burst_addr)
        read_fails = (of_stream | of_fetch) & beat.resp[1]
        found = [
            (read_fails, response_cause(beat.resp), read_addr),
            (axi.bvalid & axi.bresp[1], response_cause(axi.bresp), writes.burst_addr),
            *(
                (client.refused, ERRORS["bad_address"], client.refused_addr)
                for client in (writes, fetches, streams)
            ),
        ]
        m.d.sync += self.error_valid.eq(0)
        for valid, cause, addr in reversed(found):
            with m.If(valid):
                m.d.sync += [
                    self.error_valid.eq(1),
                    self.error_cause.eq(cause),
                    self.error_addr.eq(addr),
                ]
