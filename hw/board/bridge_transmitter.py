"""Makes frames of the debug bridge out of bodies."""

from amaranth.hdl import Module, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.crc import catalog
from amaranth.lib.wiring import In, Out

from hw.spec.bridge import CRC_BYTES, ESCAPE, ESCAPE_XOR, FLAG

__all__ = ["BODY_BYTE", "BridgeTransmitter"]

#: A byte of a body; ``last`` ends the body.
BODY_BYTE = data.StructLayout({"data": unsigned(8), "last": 1})


class BridgeTransmitter(wiring.Component):
    """Put each body between flags, with its CRC, as `hw.spec.bridge` says.

    Members
    -------
    i_byte : In(stream.Signature(BODY_BYTE))
        Bodies.
    o_byte : Out(stream.Signature(8))
        The line's bytes.

    Timing
    ------
    Gives a byte per cycle. The first flag is on offer when the first byte of a body is;
    ``o_byte`` depends combinationally on ``i_byte``, and ``i_byte.ready`` on ``o_byte.ready``.
    """

    def __init__(self):
        super().__init__({
            "i_byte": In(stream.Signature(BODY_BYTE)),
            "o_byte": Out(stream.Signature(8)),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.crc = crc = catalog.CRC32_ISO_HDLC(8).create()
        m.d.comb += crc.data.eq(self.i_byte.p.data)

        # A byte goes out as it is, or as two.
        byte = Signal(8)
        escaping = Signal()
        special = Signal()
        sent = Signal()
        m.d.comb += special.eq((byte == FLAG) | (byte == ESCAPE))

        def offer():
            with m.If(special & ~escaping):
                m.d.comb += self.o_byte.payload.eq(ESCAPE)
            with m.Elif(escaping):
                m.d.comb += self.o_byte.payload.eq(byte ^ ESCAPE_XOR)
            with m.Else():
                m.d.comb += self.o_byte.payload.eq(byte)
            with m.If(self.o_byte.valid & self.o_byte.ready):
                m.d.sync += escaping.eq(special & ~escaping)
                m.d.comb += sent.eq(escaping | ~special)

        index = Signal(range(CRC_BYTES))
        with m.FSM():
            with m.State("OPEN"):
                m.d.comb += [self.o_byte.valid.eq(self.i_byte.valid), self.o_byte.payload.eq(FLAG)]
                m.d.comb += crc.start.eq(1)
                with m.If(self.o_byte.valid & self.o_byte.ready):
                    m.next = "BODY"
            with m.State("BODY"):
                m.d.comb += [byte.eq(self.i_byte.p.data), self.o_byte.valid.eq(self.i_byte.valid)]
                offer()
                m.d.comb += [self.i_byte.ready.eq(sent), crc.valid.eq(sent)]
                with m.If(sent & self.i_byte.p.last):
                    m.next = "CRC"
            with m.State("CRC"):
                m.d.comb += [byte.eq(crc.crc.word_select(index, 8)), self.o_byte.valid.eq(1)]
                offer()
                with m.If(sent):
                    m.d.sync += index.eq(index + 1)
                    with m.If(index == CRC_BYTES - 1):
                        m.next = "CLOSE"
            with m.State("CLOSE"):
                m.d.comb += [self.o_byte.valid.eq(1), self.o_byte.payload.eq(FLAG)]
                with m.If(self.o_byte.ready):
                    m.next = "OPEN"
        return m
