"""Block-quantised rows, held on chip: what the systolic array reads."""

from amaranth.hdl import Cat, Module, signed, unsigned
from amaranth.lib import data, memory, wiring
from amaranth.lib.wiring import In, Out

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

    Members
    -------
    write_en, write_block, write_row, write : In
        Store one block.
    read_block, read_row : In
        The block wanted.
    read : Out(Block)
        The block wanted in the last cycle, as it was stored before that cycle.
    """

    def __init__(self, *, blocks, max_rows):
        if blocks < 1:
            raise ValueError(f"blocks must be positive, not {blocks!r}")
        if max_rows < 2 or max_rows & (max_rows - 1):
            raise ValueError(f"max_rows must be a power of two from 2, not {max_rows!r}")
        self.blocks = blocks
        self.max_rows = max_rows
        super().__init__({
            "write_en": In(1),
            "write_block": In(10),
            "write_row": In(range(max_rows)),
            "write": In(Block),
            "read_block": In(10),
            "read_row": In(range(max_rows)),
            "read": Out(Block),
        })

    def elaborate(self, platform):
        m = Module()
        m.submodules.words = words = memory.Memory(
            shape=Block, depth=self.blocks * self.max_rows, init=[]
        )
        write, read = words.write_port(), words.read_port()
        m.d.comb += [
            write.en.eq(self.write_en),
            write.addr.eq(Cat(self.write_row, self.write_block)),
            write.data.eq(self.write),
            read.addr.eq(Cat(self.read_row, self.read_block)),
            self.read.eq(read.data),
        ]
        return m
