"""Block-quantised rows, held on chip: what the systolic array reads."""

from amaranth.hdl import Cat, Module, signed, unsigned
from amaranth.lib import data, memory, wiring
from amaranth.lib.wiring import In, Out

from .lib.collision import UNDEFINED
from .spec.formats import ACT_WIDTH, BLOCK_LEN, EXP_WIDTH

__all__ = ["ActivationMemory", "Block"]

#: 32 elements and the exponent they share.
Block = data.StructLayout({
    "q": data.ArrayLayout(signed(ACT_WIDTH), BLOCK_LEN),
    "exp": unsigned(EXP_WIDTH),
})


class ActivationMemory(wiring.Component):
    """Memory of ``blocks`` blocks for each of ``max_rows`` rows.

    Parameters
    ----------
    blocks : int
        Blocks of a row.
    max_rows : int
        Rows. A power of two.
    readers : int
        Tiles that read, each for itself. Positive.

    Members
    -------
    write_en, write_block, write_row, write : In
        Store one block.
    read_block, read_row : In
        The block that each reader wants.
    read : Out(ArrayLayout(Block, readers))
        The blocks wanted in the last cycle; anything for one that was stored in that cycle.
    """

    def __init__(self, *, blocks, max_rows, readers=1):
        if blocks < 1:
            raise ValueError(f"blocks must be positive, not {blocks!r}")
        if max_rows < 2 or max_rows & (max_rows - 1):
            raise ValueError(f"max_rows must be a power of two from 2, not {max_rows!r}")
        if readers < 1:
            raise ValueError(f"readers must be positive, not {readers!r}")
        self.blocks = blocks
        self.readers = readers
        self.max_rows = max_rows
        super().__init__({
            "write_en": In(1),
            "write_block": In(10),
            "write_row": In(range(max_rows)),
            "write": In(Block),
            "read_block": In(data.ArrayLayout(10, readers)),
            "read_row": In(data.ArrayLayout(range(max_rows), readers)),
            "read": Out(data.ArrayLayout(Block, readers)),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.words = words = memory.Memory(
            shape=Block, depth=self.blocks * self.max_rows, init=[], attrs=UNDEFINED
        )
        write = words.write_port()
        m.d.comb += [
            write.en.eq(self.write_en),
            write.addr.eq(Cat(self.write_row, self.write_block)),
            write.data.eq(self.write),
        ]
        for number in range(self.readers):
            read = words.read_port()
            m.d.comb += [
                read.addr.eq(Cat(self.read_row[number], self.read_block[number])),
                self.read[number].eq(read.data),
            ]
        return m
