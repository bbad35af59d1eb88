"""Exact sums of what the systolic array puts out."""

from amaranth.hdl import Cat, Module, Signal, signed, unsigned
from amaranth.lib import data, memory, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from .lib.arithmetic import shift_left
from .spec.formats import ACC_WIDTH, PSUM_WIDTH

__all__ = ["SHIFT_WIDTH", "Accumulator"]

SHIFT_WIDTH = 6  #: a partial sum's shift, the sum of two exponents: unsigned


class Accumulator(wiring.Component):
    """Add partial sums, each shifted by its exponent, into one of two banks of sums.

    While the sums of one bank grow, those of the other can be read. Sums wrap at ``ACC_WIDTH``
    bits, which no legal program reaches.

    Parameters
    ----------
    cols : int
        Sums side by side. Positive.
    depth : int
        Rows of sums in a bank. At least 2.

    Members
    -------
    i_valid : In(1)
        Whether there is an update: ``sum[i_bank][i_addr] += i_psum << i_shift`` for each column.
    i_bank, i_addr : In(1), In(range(depth))
        Row of sums to update.
    i_first : In(1)
        Overwrite the row instead of adding to it.
    i_psum : In(ArrayLayout(signed(PSUM_WIDTH), cols))
        Partial sums.
    i_shift : In(ArrayLayout(unsigned(SHIFT_WIDTH), cols))
        Shift of each column.
    read_en : In(1)
        Read a row. ``read_data`` stays as it is otherwise.
    read_bank, read_addr : In(1), In(range(depth))
        Row of sums to read.
    read_data : Out(ArrayLayout(signed(ACC_WIDTH), cols))
        The sums, in the cycle after ``read_en``.

    Timing
    ------
    An update and a read in every cycle, of any rows; updates of the same row may follow each other
    at once. A read sees the updates that came :attr:`LATENCY` cycles before it or earlier.

    Raises
    ------
    ValueError
        ``cols`` or ``depth`` out of range.
    """

    #: Cycles from an update until a read, issued in that cycle, sees it.
    LATENCY = 3

    def __init__(self, *, cols, depth):
        if not isinstance(cols, int) or isinstance(cols, bool) or cols < 1:
            raise ValueError(f"cols must be a positive integer, not {cols!r}")
        if not isinstance(depth, int) or isinstance(depth, bool) or depth < 2:
            raise ValueError(f"depth must be an integer from 2, not {depth!r}")
        self.cols = cols
        self.depth = depth
        super().__init__({
            "i_valid": In(1),
            "i_bank": In(1),
            "i_addr": In(range(depth)),
            "i_first": In(1),
            "i_psum": In(data.ArrayLayout(signed(PSUM_WIDTH), cols)),
            "i_shift": In(data.ArrayLayout(unsigned(SHIFT_WIDTH), cols)),
            "read_en": In(1),
            "read_bank": In(1),
            "read_addr": In(range(depth)),
            "read_data": Out(data.ArrayLayout(signed(ACC_WIDTH), cols)),
        })

    def elaborate(self, platform):
        m = Module()

        row_width = 1 + ceil_log2(self.depth)

        # Stage 1 shifts and reads the old sum, stage 2 adds, stage 3 writes.
        row = Signal(row_width)
        add_row = Signal(row_width, reset_less=True)
        add_valid = Signal()
        add_first = Signal(reset_less=True)
        write_row = Signal(row_width, reset_less=True)
        write_valid = Signal()
        written_row = Signal(row_width, reset_less=True)
        written_valid = Signal()
        m.d.comb += row.eq(Cat(self.i_addr, self.i_bank))
        m.d.sync += [
            add_valid.eq(self.i_valid),
            add_row.eq(row),
            add_first.eq(self.i_first),
            write_valid.eq(add_valid),
            write_row.eq(add_row),
            written_valid.eq(write_valid),
            written_row.eq(write_row),
        ]

        # The old sum was read before the last two updates were written.
        from_write = Signal()
        from_written = Signal()
        m.d.comb += [
            from_write.eq(write_valid & (write_row == add_row)),
            from_written.eq(written_valid & (written_row == add_row)),
        ]

        for j in range(self.cols):
            m.submodules[f"sums_{j}"] = sums = memory.Memory(
                shape=signed(ACC_WIDTH), depth=1 << row_width, init=[]
            )
            update = sums.read_port()
            read = sums.read_port()
            write = sums.write_port()

            addend = Signal(signed(ACC_WIDTH), name=f"addend_{j}", reset_less=True)
            base = Signal(signed(ACC_WIDTH), name=f"base_{j}")
            total = Signal(signed(ACC_WIDTH), name=f"total_{j}", reset_less=True)
            written = Signal(signed(ACC_WIDTH), name=f"written_{j}", reset_less=True)

            m.d.sync += addend.eq(shift_left(self.i_psum[j], self.i_shift[j], ACC_WIDTH))
            with m.If(add_first):
                m.d.comb += base.eq(0)
            with m.Elif(from_write):
                m.d.comb += base.eq(total)
            with m.Elif(from_written):
                m.d.comb += base.eq(written)
            with m.Else():
                m.d.comb += base.eq(update.data)
            m.d.sync += [
                total.eq(base + addend),
                written.eq(total),
            ]
            m.d.comb += [
                update.addr.eq(row),
                update.en.eq(self.i_valid),
                write.addr.eq(write_row),
                write.data.eq(total),
                write.en.eq(write_valid),
                read.addr.eq(Cat(self.read_addr, self.read_bank)),
                read.en.eq(self.read_en),
                self.read_data[j].eq(read.data),
            ]

        return m
