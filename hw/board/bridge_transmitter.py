"""Makes frames of the debug bridge out of bodies."""

from amaranth.hdl import Module, Mux, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.crc import catalog
from amaranth.lib.wiring import In, Out

from hw.lib.slice import Slice
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
    Gives a byte per cycle. The first flag is on offer a cycle after the first byte of a body is.
    No combinational paths.
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

        # Flags are marked; bytes of body and CRC that look like one go out as two.
        m.submodules.raw = raw = Slice(data.StructLayout({"byte": 8, "flag": 1}))
        escaping = Signal()
        special = Signal()
        byte = raw.o.p.byte
        m.d.comb += [
            special.eq(~raw.o.p.flag & ((byte == FLAG) | (byte == ESCAPE))),
            self.o_byte.valid.eq(raw.o.valid),
            self.o_byte.payload.eq(Mux(special, ESCAPE, byte)),
            raw.o.ready.eq(self.o_byte.ready & (escaping | ~special)),
        ]
        with m.If(escaping):
            m.d.comb += self.o_byte.payload.eq(byte ^ ESCAPE_XOR)
        with m.If(self.o_byte.valid & self.o_byte.ready):
            m.d.sync += escaping.eq(special & ~escaping)

        index = Signal(range(CRC_BYTES))
        into = raw.i
        with m.FSM():
            with m.State("OPEN"):
                m.d.comb += [into.valid.eq(self.i_byte.valid), into.p.byte.eq(FLAG)]
                m.d.comb += [into.p.flag.eq(1), crc.start.eq(1)]
                with m.If(into.valid & into.ready):
                    m.next = "BODY"
            with m.State("BODY"):
                m.d.comb += [
                    into.valid.eq(self.i_byte.valid),
                    into.p.byte.eq(self.i_byte.p.data),
                    self.i_byte.ready.eq(into.ready),
                    crc.valid.eq(into.valid & into.ready),
                ]
                with m.If(into.valid & into.ready & self.i_byte.p.last):
                    m.next = "CRC"
            with m.State("CRC"):
                m.d.comb += [into.valid.eq(1), into.p.byte.eq(crc.crc.word_select(index, 8))]
                with m.If(into.ready):
                    m.d.sync += index.eq(index + 1)
                    with m.If(index == CRC_BYTES - 1):
                        m.next = "CLOSE"
            with m.State("CLOSE"):
                m.d.comb += [into.valid.eq(1), into.p.byte.eq(FLAG), into.p.flag.eq(1)]
                with m.If(into.ready):
                    m.next = "OPEN"
        return m
