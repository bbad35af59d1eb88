"""Addresses of a sequence's pages of the KV cache."""

from amaranth.hdl import Module
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["PageTable"]


class PageTable(wiring.Component):
    """Hold the address of each page; two may be looked up at once.

    Parameters
    ----------
    config : ArchConfig

    Members
    -------
    write_en, write_index, write : In
        Store an address.
    read_index, read : In, Out(32)
        Address of a page, one cycle after its number; for the reader of the cache.
    append_index, append : In, Out(32)
        The same for the writer.
    """

    def __init__(self, config):
        self.config = config
        index = range(max(2, config.max_pages))
        super().__init__({
            "write_en": In(1),
            "write_index": In(index),
            "write": In(32),
            "read_index": In(index),
            "read": Out(32),
            "append_index": In(index),
            "append": Out(32),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.pages = pages = memory.Memory(
            shape=32, depth=max(2, self.config.max_pages), init=[]
        )
        write, read, append = pages.write_port(), pages.read_port(), pages.read_port()
        m.d.comb += [
            write.en.eq(self.write_en),
            write.addr.eq(self.write_index),
            write.data.eq(self.write),
            read.addr.eq(self.read_index),
            self.read.eq(read.data),
            append.addr.eq(self.append_index),
            self.append.eq(append.data),
        ]
        return m
