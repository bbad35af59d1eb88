"""Exact sums of what the systolic array puts out."""

from itertools import pairwise

from amaranth.hdl import C, Cat, Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, enum, memory, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from .lib.arithmetic import shift_left
from .lib.collision import UNDEFINED
from .spec.formats import ACC_WIDTH, PSUM_WIDTH

__all__ = ["SHIFT_WIDTH", "Accumulator"]

SHIFT_WIDTH = 6  #: a partial sum's shift, the sum of two exponents: unsigned

_FINE_WIDTH = 3  # bits of a shift that are done first


class _Source(enum.Enum, shape=2):
    """Where an update's old sum is: it is the first, in stage 5 or there before, in the memory."""

    ZERO = 0
    LAST = 1
    RECENT = 2
    MEMORY = 3


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
    at once. A read sees the updates that came :attr:`LATENCY` cycles before it or earlier; it reads
    anything if one of the same row came a cycle later than that.

    Raises
    ------
    ValueError
        ``cols`` or ``depth`` out of range.
    """

    #: Cycles from an update until a read, issued in that cycle, sees it.
    LATENCY = 6

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

        # Stage 1 fetches the old sum, stage 2 registers it and begins to shift, stage 3 chooses the
        # newest sum and ends the shift, stage 4 adds, stage 5 writes; a read comes after that.
        rows = [Signal(row_width, name=f"row_{n}", reset_less=True) for n in range(5)]
        valids = [Signal(name=f"valid_{n}") for n in range(5)]
        firsts = [Signal(name=f"first_{n}", reset_less=True) for n in range(3)]
        m.d.sync += [
            rows[0].eq(Cat(self.i_addr, self.i_bank)),
            valids[0].eq(self.i_valid),
            firsts[0].eq(self.i_first),
        ]
        m.d.sync += [
            *(later.eq(stage) for stage, later in pairwise(rows)),
            *(later.eq(stage) for stage, later in pairwise(valids)),
            *(later.eq(stage) for stage, later in pairwise(firsts)),
        ]

        # The fetch sees what was written before its own cycle; of the four updates that come after
        # that, the newest one of the same row gives the sum.
        from_1 = Signal(reset_less=True)  # in stage 4: the update before is in stage 5
        source = Signal(_Source, reset_less=True)  # in stage 3: the one before that is in stage 5
        from_3 = Signal(reset_less=True)  # in stage 2: the one before those is in stage 5
        from_4 = Signal(reset_less=True)  # in stage 2: its predecessor was there a cycle ago
        m.d.sync += [
            from_1.eq(valids[3] & ~firsts[2] & (rows[3] == rows[2])),
            from_3.eq(valids[3] & (rows[3] == rows[0])),
            from_4.eq(valids[4] & (rows[4] == rows[0])),
        ]
        with m.If(firsts[1]):
            m.d.sync += source.eq(_Source.ZERO)
        with m.Elif(valids[3] & (rows[3] == rows[1])):
            m.d.sync += source.eq(_Source.LAST)
        with m.Elif(from_3 | from_4):
            m.d.sync += source.eq(_Source.RECENT)
        with m.Else():
            m.d.sync += source.eq(_Source.MEMORY)

        # One memory for all columns: it is wide and shallow, as block RAM is.
        word = self.read_data.shape()
        m.submodules.sums = sums = memory.Memory(
            shape=word, depth=1 << row_width, init=[], attrs=UNDEFINED | {"ram_style": "block"}
        )
        write = sums.write_port()
        update = sums.read_port()
        read = sums.read_port()
        m.d.comb += [
            update.addr.eq(rows[0]),
            write.addr.eq(rows[4]),
            write.en.eq(valids[4]),
            read.addr.eq(Cat(self.read_addr, self.read_bank)),
            read.en.eq(self.read_en),
            self.read_data.eq(read.data),
        ]

        coarse_width = PSUM_WIDTH + (1 << _FINE_WIDTH) - 1
        for j in range(self.cols):

            def register(width, name, *, j=j):
                return Signal(signed(width), name=f"{name}_{j}", reset_less=True)

            psums = [register(PSUM_WIDTH, f"psum_{n}") for n in range(2)]
            shifts = [Signal(SHIFT_WIDTH, name=f"shift_{n}_{j}", reset_less=True) for n in range(2)]
            shifted = register(coarse_width, "shifted")
            coarse = Signal(SHIFT_WIDTH - _FINE_WIDTH, name=f"coarse_{j}", reset_less=True)
            addend = register(ACC_WIDTH, "addend")
            fetched = register(ACC_WIDTH, "fetched")  # block RAM is late in its cycle
            recent = register(ACC_WIDTH, "recent")
            old = register(ACC_WIDTH, "old")
            total = register(ACC_WIDTH, "total")
            total_before = register(ACC_WIDTH, "total_before")
            m.d.sync += [
                psums[0].eq(self.i_psum[j]),
                shifts[0].eq(self.i_shift[j]),
                psums[1].eq(psums[0]),
                shifts[1].eq(shifts[0]),
                shifted.eq(shift_left(psums[1], shifts[1][:_FINE_WIDTH], coarse_width)),
                coarse.eq(shifts[1][_FINE_WIDTH:]),
                addend.eq(shift_left(shifted, Cat(C(0, _FINE_WIDTH), coarse), ACC_WIDTH)),
                fetched.eq(update.data[j]),
                recent.eq(Mux(from_3, total, total_before)),
                total.eq(Mux(from_1, total, old) + addend),
                total_before.eq(total),
            ]
            with m.Switch(source):
                with m.Case(_Source.ZERO):
                    m.d.sync += old.eq(0)
                with m.Case(_Source.LAST):
                    m.d.sync += old.eq(total)
                with m.Case(_Source.RECENT):
                    m.d.sync += old.eq(recent)
                with m.Case(_Source.MEMORY):
                    m.d.sync += old.eq(fetched)
            m.d.comb += write.data[j].eq(total)

        return m
