"""Two memories of the same words, of which one leaves undefined what a read sees of a write."""

from amaranth.hdl import Module, unsigned
from amaranth.lib import data, memory, wiring
from amaranth.lib.wiring import Out

from hw.lib.collision import UNDEFINED
from tests.hw.parity_store import store_ports

__all__ = ["CollidingStore"]


class CollidingStore(wiring.Component):
    """Words of ``lanes`` bytes in a memory ``undefined`` and one ``old``.

    Bytes are written one by one. Each memory is read at one address by two ports, of which the
    second shows what is written.
    """

    def __init__(self, *, lanes, depth):
        self.depth = depth
        self.shape = data.ArrayLayout(unsigned(8), lanes)
        super().__init__({
            **store_ports(self.shape, lanes, depth),
            "undefined": Out(self.shape),
            "undefined_new": Out(self.shape),
            "old": Out(self.shape),
            "old_new": Out(self.shape),
        })

    def elaborate(self, platform):
        m = Module()
        for name, attrs in (("undefined", UNDEFINED), ("old", {})):
            m.submodules[f"{name}_words"] = words = memory.Memory(
                shape=self.shape, depth=self.depth, init=[], attrs=attrs
            )
            write = words.write_port(granularity=1)
            m.d.comb += [
                write.en.eq(self.write_en),
                write.addr.eq(self.write_addr),
                write.data.eq(self.write),
            ]
            for port, seen in ((name, []), (f"{name}_new", [write])):
                read = words.read_port(transparent_for=seen)
                m.d.comb += [
                    read.en.eq(self.read_en),
                    read.addr.eq(self.read_addr),
                    getattr(self, port).eq(read.data),
                ]
        return m
