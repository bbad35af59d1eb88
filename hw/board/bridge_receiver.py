"""Takes whole frames of the debug bridge out of a stream of bytes."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.crc import catalog
from amaranth.lib.wiring import In, Out

from hw.lib.collision import UNDEFINED
from hw.lib.queue import Queue
from hw.spec.bridge import CRC_BYTES, ESCAPE, ESCAPE_XOR, FLAG, MAX_DATA, REQUEST_BYTES

__all__ = ["FRAME", "BridgeReceiver"]

_BUFFER_BYTES = 2048  # one block RAM
_MAX_BYTES = REQUEST_BYTES + MAX_DATA + CRC_BYTES
_FRAMES = 16

#: Bytes of a body, and its CRC.
FRAME = data.StructLayout({"length": range(_MAX_BYTES + 1), "crc": 32})


class BridgeReceiver(wiring.Component):
    """Find frames as `hw.spec.bridge` says, and pass on those that are whole.

    Nothing of a frame can be seen before its CRC was found right. A frame that is longer than any
    request, or finds no room, is dropped like one with a wrong CRC.

    Members
    -------
    i_byte : In(stream.Signature(8))
        The line's bytes. ``ready`` is always high.
    bad : In(1)
        Something was lost between two bytes: what comes before the next flag is no frame.
    o_frame : Out(stream.Signature(FRAME))
        A whole frame.
    o_byte : Out(stream.Signature(8))
        The bodies of all frames, one after the other; those of a frame are there, or on their
        way, when it is on offer.
    dropped : Out(1)
        High for one cycle: something between two flags was no whole frame.

    Timing
    ------
    Takes a byte per cycle. A frame is on offer four cycles after its last flag, the first byte of
    its body two cycles after that at the latest, the others at one in two cycles. No combinational
    paths.
    """

    def __init__(self):
        super().__init__({
            "i_byte": In(stream.Signature(8)),
            "bad": In(1),
            "o_frame": Out(stream.Signature(FRAME)),
            "o_byte": Out(stream.Signature(8)),
            "dropped": Out(1),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.crc = crc = catalog.CRC32_ISO_HDLC(8).create()
        m.submodules.frames = frames = Queue(FRAME, _FRAMES)
        m.submodules.buffer = buffer = memory.Memory(
            shape=8, depth=_BUFFER_BYTES, init=[], attrs=UNDEFINED
        )
        write, read = buffer.write_port(), buffer.read_port()
        wiring.connect(m, frames.o, wiring.flipped(self.o_frame))

        # Stage 1: flags and escapes.
        escaped = Signal()
        byte = Signal(8)
        byte_valid = Signal()
        flag = Signal()
        cut = Signal()
        m.d.comb += self.i_byte.ready.eq(1)
        m.d.sync += [byte_valid.eq(0), flag.eq(0)]
        with m.If(self.i_byte.valid):
            m.d.sync += [
                escaped.eq(0),
                cut.eq(escaped),
                byte.eq(self.i_byte.payload ^ Mux(escaped, ESCAPE_XOR, 0)),
            ]
            with m.If(self.i_byte.payload == FLAG):
                m.d.sync += flag.eq(1)
            with m.Elif((self.i_byte.payload == ESCAPE) & ~escaped):
                m.d.sync += escaped.eq(1)
            with m.Else():
                m.d.sync += byte_valid.eq(1)

        # Stage 2: bytes go behind the last whole frame, and stay there if their CRC is right.
        write_at = Signal(range(_BUFFER_BYTES))
        whole_until = Signal(range(_BUFFER_BYTES))
        read_at = Signal(range(_BUFFER_BYTES))
        count = Signal(range(_MAX_BYTES + 1))
        tail = Signal(8 * CRC_BYTES)
        spoilt = Signal()
        no_room = Signal()
        before_crc = Signal(range(_BUFFER_BYTES))
        m.d.comb += [
            no_room.eq(((write_at + 1)[: len(read_at)] == read_at) | (count == _MAX_BYTES)),
            crc.data.eq(byte),
            crc.valid.eq(byte_valid),
            crc.start.eq(flag),
            before_crc.eq(write_at - CRC_BYTES),
        ]
        # A cycle late: whether there is room takes long to tell, and nobody reads so soon.
        m.d.sync += [
            write.addr.eq(write_at),
            write.data.eq(byte),
            write.en.eq(byte_valid & ~no_room),
        ]
        with m.If(byte_valid):
            m.d.sync += tail.eq(Cat(tail[8:], byte))
            with m.If(no_room):
                m.d.sync += spoilt.eq(1)
            with m.Else():
                m.d.sync += [write_at.eq(write_at + 1), count.eq(count + 1)]

        # Stage 3: the flag that follows decides.
        m.d.sync += self.dropped.eq(0)
        m.d.comb += [frames.i.p.length.eq(count - CRC_BYTES), frames.i.p.crc.eq(tail)]
        with m.If(flag):
            m.d.sync += [count.eq(0), spoilt.eq(0)]
            with m.If(crc.match_detected & ~spoilt & ~cut & (count > CRC_BYTES) & frames.i.ready):
                m.d.comb += frames.i.valid.eq(1)
                m.d.sync += [write_at.eq(before_crc), whole_until.eq(before_crc)]
            with m.Else():
                m.d.sync += [
                    write_at.eq(whole_until),
                    self.dropped.eq((count != 0) | spoilt | cut),
                ]
        with m.If(self.bad):
            m.d.sync += spoilt.eq(1)

        # What leaves block RAM is late in its cycle: it goes into a register and nowhere else.
        fetch = Signal()
        fetched = Signal()
        m.d.comb += [
            fetch.eq(
                (read_at != whole_until) & ~fetched & (~self.o_byte.valid | self.o_byte.ready)
            ),
            read.addr.eq(read_at),
            read.en.eq(fetch),
        ]
        m.d.sync += fetched.eq(fetch)
        with m.If(fetch):
            m.d.sync += read_at.eq(read_at + 1)
        with m.If(fetched):
            m.d.sync += [self.o_byte.payload.eq(read.data), self.o_byte.valid.eq(1)]
        with m.Elif(self.o_byte.ready):
            m.d.sync += self.o_byte.valid.eq(0)

        return m
