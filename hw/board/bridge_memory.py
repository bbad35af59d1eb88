"""Reads and writes a few bytes of memory at a time for the debug bridge."""

from amaranth.hdl import Module, Mux, Signal, unsigned
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped
from amaranth.utils import exact_log2

from hw.lib.axi import BURST_INCR, RESP_OKAY, Axi4
from hw.lib.parameter import check_power_of_two
from hw.lib.slice import Slice

__all__ = ["LINE_BEATS", "BridgeMemory", "line_command"]

LINE_BEATS = 8  #: longest burst; a burst does not leave its line of so many beats

_CACHE = 0b0011  # bufferable, modifiable


def line_command(port_bytes):
    """Return the layout of a command: ``count`` bytes from ``addr`` on, inside one line."""
    return data.StructLayout({
        "write": 1,
        "addr": 32,
        "count": range(LINE_BEATS * port_bytes + 1),
    })


class BridgeMemory(wiring.Component):
    """Carry out one command after the other, each as one burst.

    Bytes to be written are taken before the burst begins, and bytes that are read are on offer
    after it has ended, so a burst never waits for them. Bytes outside the command are not written.

    Parameters
    ----------
    port_bytes : int
        Width of the port, in bytes. A power of two.

    Members
    -------
    axi : Out(Axi4(data_bytes=port_bytes))
        The memory; all IDs are 0.
    i_command : In(stream.Signature(line_command(port_bytes)))
        What to do. At least one byte.
    i_byte : In(stream.Signature(8))
        The bytes that it writes.
    o_byte : Out(stream.Signature(8))
        The bytes that it read, if that went well.
    done : Out(1)
        High for one cycle: the burst has ended.
    error : Out(1)
        ... and some response was not OKAY. Holds with ``done``.
    abandon : In(1)
        Nobody waits for the burst any more: when it ends, forget what it read.

    Timing
    ------
    The burst's address is on offer two cycles after a command that reads, or after the last byte
    of one that writes. The next command is taken when all bytes were. No combinational paths.

    Raises
    ------
    TypeError, ValueError
        ``port_bytes`` is not a power of two.
    """

    def __init__(self, *, port_bytes):
        check_power_of_two("port_bytes", port_bytes)
        self.port_bytes = port_bytes
        super().__init__({
            "axi": Out(Axi4(data_bytes=port_bytes)),
            "i_command": In(stream.Signature(line_command(port_bytes))),
            "i_byte": In(stream.Signature(8)),
            "o_byte": Out(stream.Signature(8)),
            "done": Out(1),
            "error": Out(1),
            "abandon": In(1),
        })

    def elaborate(self, platform):
        m = Module()
        axi = self.axi
        shift = exact_log2(self.port_bytes)
        beat_shape = data.ArrayLayout(unsigned(8), self.port_bytes)

        m.submodules.line = line = memory.Memory(shape=beat_shape, depth=LINE_BEATS, init=[])
        write = line.write_port(granularity=1)
        read = line.read_port(domain="comb")
        m.submodules.out = out = Slice(8)
        connect(m, out.o, flipped(self.o_byte))

        command = Signal(line_command(self.port_bytes), reset_less=True)
        index = Signal(range(LINE_BEATS * self.port_bytes))  # byte of the burst
        last_index = Signal.like(index)
        beat = Signal(range(LINE_BEATS))
        last_beat = last_index >> shift
        first_lane = Signal(range(self.port_bytes))
        last_lane = Signal(range(self.port_bytes))
        failed = Signal()
        abandoned = Signal()
        m.d.comb += [
            first_lane.eq(command.addr[:shift]),
            last_lane.eq(last_index[:shift]),
            read.addr.eq(beat),
            out.i.payload.eq(read.data[index[:shift]]),
        ]

        strobe = Signal(self.port_bytes)
        for lane in range(self.port_bytes):
            m.d.comb += strobe[lane].eq(
                ((beat != 0) | (lane >= first_lane)) & ((beat != last_beat) | (lane <= last_lane))
            )
        for channel in ("aw", "ar"):
            m.d.comb += [
                getattr(axi, f"{channel}addr").eq((command.addr >> shift) << shift),
                getattr(axi, f"{channel}len").eq(last_beat),
                getattr(axi, f"{channel}size").eq(shift),
                getattr(axi, f"{channel}burst").eq(BURST_INCR),
                getattr(axi, f"{channel}cache").eq(_CACHE),
            ]
        m.d.comb += [
            axi.wdata.eq(read.data),
            axi.wstrb.eq(strobe),
            axi.wlast.eq(beat == last_beat),
            axi.bready.eq(1),
            axi.rready.eq(1),
        ]

        with m.If(self.abandon):
            m.d.sync += abandoned.eq(1)
        m.d.sync += self.done.eq(0)

        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += self.i_command.ready.eq(1)
                m.d.sync += [command.eq(self.i_command.payload), failed.eq(0), abandoned.eq(0)]
                with m.If(self.i_command.valid):
                    m.next = "MEASURE"
            with m.State("MEASURE"):
                m.d.sync += [
                    index.eq(first_lane),
                    last_index.eq(first_lane + command.count - 1),
                    beat.eq(0),
                ]
                m.next = "READ"
                with m.If(command.write):
                    m.next = "FILL"
            with m.State("FILL"):
                m.d.comb += [
                    self.i_byte.ready.eq(1),
                    write.addr.eq(index >> shift),
                    write.data.eq(self.i_byte.payload.replicate(self.port_bytes)),
                    write.en.eq(self.i_byte.valid << index[:shift]),
                ]
                with m.If(self.i_byte.valid):
                    m.d.sync += index.eq(index + 1)
                    with m.If(index == last_index):
                        m.next = "WRITE"
            with m.State("WRITE"):
                m.d.comb += axi.awvalid.eq(1)
                with m.If(axi.awready):
                    m.next = "WRITE_DATA"
            with m.State("WRITE_DATA"):
                m.d.comb += axi.wvalid.eq(1)
                with m.If(axi.wready):
                    m.d.sync += beat.eq(beat + 1)
                    with m.If(axi.wlast):
                        m.next = "RESPONSE"
            with m.State("RESPONSE"), m.If(axi.bvalid):
                m.d.sync += [self.done.eq(1), self.error.eq(axi.bresp != RESP_OKAY)]
                m.next = "IDLE"
            with m.State("READ"):
                m.d.comb += axi.arvalid.eq(1)
                with m.If(axi.arready):
                    m.next = "READ_DATA"
            with m.State("READ_DATA"):
                m.d.comb += [
                    write.addr.eq(beat),
                    write.data.eq(axi.rdata),
                    write.en.eq(axi.rvalid.replicate(self.port_bytes)),
                ]
                with m.If(axi.rvalid):
                    bad = failed | (axi.rresp != RESP_OKAY)
                    m.d.sync += [beat.eq(beat + 1), failed.eq(bad)]
                    with m.If(axi.rlast):
                        m.d.sync += [beat.eq(0), self.done.eq(1), self.error.eq(bad)]
                        m.next = "OFFER"
                        with m.If(bad | abandoned | self.abandon):
                            m.next = "IDLE"
            with m.State("OFFER"):
                m.d.comb += out.i.valid.eq(1)
                with m.If(out.i.ready):
                    m.d.sync += index.eq(index + 1)
                    m.d.sync += beat.eq(Mux(index[:shift].all(), beat + 1, beat))
                    with m.If(index == last_index):
                        m.next = "IDLE"
        return m
