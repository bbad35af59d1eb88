"""Addresses of the pages of the KV cache, for each sequence."""

from amaranth.hdl import Cat, Module
from amaranth.lib import data, memory, wiring
from amaranth.lib.wiring import In, Out

from .lib.collision import UNDEFINED

__all__ = ["PageTable"]


class PageTable(wiring.Component):
    """Hold the address of each page of each slot.

    Parameters
    ----------
    config : ArchConfig

    Members
    -------
    write_en, write_slot, write_index, write : In
        Store an address.
    read_slot, read_index, read : In, In, Out(ArrayLayout(32, config.tiles))
        Address of a page, one cycle after its number; for the reader of the cache of each tile.
    append_slot, append_index, append : In, In, Out(32)
        The same for the writer.
    """

    def __init__(self, config):
        self.config = config
        slot, index = range(config.max_seqs), range(max(2, config.max_pages))
        super().__init__({
            "write_en": In(1),
            "write_slot": In(slot),
            "write_index": In(index),
            "write": In(32),
            "read_slot": In(data.ArrayLayout(slot, config.tiles)),
            "read_index": In(data.ArrayLayout(index, config.tiles)),
            "read": Out(data.ArrayLayout(32, config.tiles)),
            "append_slot": In(slot),
            "append_index": In(index),
            "append": Out(32),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.pages = pages = memory.Memory(
            shape=32,
            depth=self.config.max_seqs << len(self.write_index),
            init=[],
            attrs=UNDEFINED,
        )
        write, append = pages.write_port(), pages.read_port()
        m.d.comb += [
            write.en.eq(self.write_en),
            write.addr.eq(Cat(self.write_index, self.write_slot)),
            write.data.eq(self.write),
            append.addr.eq(Cat(self.append_index, self.append_slot)),
            self.append.eq(append.data),
        ]
        for tile in range(self.config.tiles):
            read = pages.read_port()
            m.d.comb += [
                read.addr.eq(Cat(self.read_index[tile], self.read_slot[tile])),
                self.read[tile].eq(read.data),
            ]
        return m
