"""The systolic array and the accumulator: products of matrices, for every number there is."""

from amaranth.hdl import Mux, Signal, signed

from hw.accumulator import Accumulator
from hw.spec.formats import ACC_WIDTH, ACT_WIDTH
from hw.systolic_array import SystolicArray
from scripts.verify.formal_bench import Bench
from scripts.verify.formal_property import Bug, Property

_ROWS, _COLS = 2, 2


def product(*, registers):
    """Two tiles, each loaded while the one before is used; rows of activations without end.

    Words and rows come in the cycles in which the docstring lets them come earliest: in the cycle
    of a tile's first row the next tile's first word does. All numbers are any.
    """
    b = Bench()
    m = b.m
    dut = SystolicArray(rows=_ROWS, cols=_COLS, registers=registers)
    b.drive(dut, leave=("weight_valid", "weight_row", "act_valid", "act_swap"))
    cycle = b.register(8, "cycle")
    m.d.sync += cycle.eq(cycle + (cycle != 255))
    word = Signal(1, name="word")
    loads, feeds, swaps = Signal(name="loads"), Signal(name="feeds"), Signal(name="swaps")
    m.d.comb += [
        word.eq(cycle[0]),
        loads.eq(cycle < 2 * _ROWS),
        # The first tile's one row, the second's first row two cycles later, and rows from then on.
        swaps.eq((cycle == _ROWS) | (cycle == 2 * _ROWS)),
        feeds.eq(swaps | ((cycle > 2 * _ROWS) & b.free(1, "more"))),
        dut.weight_valid.eq(loads),
        dut.weight_row.eq(word),
        dut.act_valid.eq(feeds),
        dut.act_swap.eq(swaps),
    ]
    lowest = -(1 << (ACT_WIDTH - 1))
    for j in range(_COLS):
        b.assume(dut.weight[j] != lowest, f"weight_{j}_is_symmetric")
    for i in range(_ROWS):
        b.assume(dut.act[i] != lowest, f"act_{i}_is_symmetric")
    # The words of the tile that is being loaded, and of the one in use.
    shape = signed(ACT_WIDTH)
    loading = [[Signal(shape, name=f"loading_{i}_{j}") for j in range(_COLS)] for i in range(_ROWS)]
    used = [[Signal(shape, name=f"used_{i}_{j}") for j in range(_COLS)] for i in range(_ROWS)]
    for i in range(_ROWS):
        for j in range(_COLS):
            with m.If(loads & (word == i)):
                m.d.sync += loading[i][j].eq(dut.weight[j])
            with m.If(swaps):
                m.d.sync += used[i][j].eq(loading[i][j])
    for j in range(_COLS):
        total = sum(dut.act[i] * Mux(swaps, loading[i][j], used[i][j]) for i in range(_ROWS))
        expected = b.past(total, f"total_{j}", dut.latency)
        b.always(~dut.psum_valid | (dut.psum[j] == expected), f"column_{j}_is_the_product")
    valid = b.past(feeds, "fed", dut.latency)
    b.always(dut.psum_valid == valid, "sums_come_when_they_should")
    b.cover(valid & (dut.psum[1] == 2 * 127 * 127), "the_largest_sum")
    b.cover(valid & b.past(swaps & (cycle == 2 * _ROWS), "second", dut.latency) & (dut.psum[0] < 0),
            "a_sum_of_the_second_tile")  # fmt: skip
    return b


def sums(width=ACC_WIDTH):
    """Of any one sum, or its lowest bits: all updates that were made of it."""
    b = Bench()
    m = b.m
    dut = Accumulator(cols=1, depth=2)
    b.drive(dut)
    bank, addr = b.constant(1, "bank"), b.constant(1, "addr")
    total = b.register(signed(width), "total")
    known = b.register(1, "known")
    here = dut.i_valid & (dut.i_bank == bank) & (dut.i_addr == addr)
    addend = Signal(signed(width), name="addend")
    m.d.comb += addend.eq(dut.i_psum[0] << dut.i_shift[0])
    with m.If(here):
        m.d.sync += [total.eq(Mux(dut.i_first, 0, total) + addend), known.eq(known | dut.i_first)]
    reads = dut.read_en & (dut.read_bank == bank) & (dut.read_addr == addr)
    # The last updates may or may not be seen.
    recent = here
    for cycle in range(1, Accumulator.LATENCY):
        recent = recent | b.past(here, f"here_{cycle}", cycle)
    asked = b.past(reads & known & ~recent, "asked")
    got = dut.read_data[0][:width].as_signed()
    b.always(~asked | (got == b.past(total, "total")), "is_the_sum_of_its_updates")
    oldest = Accumulator.LATENCY + 1
    twice = b.past(here, "updated", oldest)
    twice = twice & b.past(here & ~dut.i_first, "updated_before", oldest + 1)
    b.cover(asked & twice & (got < 0), "a_negative_sum_of_several")
    return b


_FILE = "hw/processing_element.py"

PROPERTIES = [
    *(
        Property(
            name=f"array.product{'_registers' if registers else ''}",
            says="sums are the matrix product of symbolic tiles and rows, 2 x 2, tile after tile"
            + (", with the registers of the multipliers" if registers else ""),
            bench=lambda registers=registers: product(registers=registers),
            depth=2 * _ROWS + SystolicArray.latency_of(_ROWS, _COLS, registers) + 3,
            induction=False,
            cover=2 * _ROWS + SystolicArray.latency_of(_ROWS, _COLS, registers) + 3,
            solver="boolector",
            bugs=(bug,),
        )
        for registers, bug in (
            (False, Bug(what="the first row takes the old weights", file=_FILE,
                old="self.act * Mux(self.swap, shadow, active)", new="self.act * active")),
            (True, Bug(what="activations reach the rows a cycle early", file="hw/systolic_array.py",
                old="delayed(self.act[i], i * row_cycles,", new="delayed(self.act[i], i,")),
        )
    ),
    Property(
        name="accumulator.sums",
        says="a sum of the accumulator is that of all its updates, shifted, in any order of "
        "updates and reads of any rows",
        bench=sums,
        depth=10,
        induction=False,
        cover=Accumulator.LATENCY + 7,
        solver="boolector",
        bugs=(
            Bug(what="an update right after another of its row is lost", file="hw/accumulator.py",
                old="valids[3] & ~firsts[2] & (rows[3] == rows[2])", new="0"),
        ),
    ),
    Property(
        name="accumulator.low_bits",
        says="so are the lowest bits of a sum, for longer: updates reach those after them in their "
        "row from each place of the pipeline",
        bench=lambda: sums(width=4),
        depth=Accumulator.LATENCY + 7,
        induction=False,
        cover=Accumulator.LATENCY + 7,
        solver="boolector",
        bugs=(
            Bug(what="the row is not looked at", file="hw/accumulator.py",
                old="valids[3] & (rows[3] == rows[1])", new="valids[3]"),
            Bug(what="the third update after another of its row is lost", file="hw/accumulator.py",
                old="from_3 | from_4", new="from_4"),
            Bug(what="the fourth update after another of its row is lost", file="hw/accumulator.py",
                old="from_3 | from_4", new="from_3"),
        ),
    ),
]  # fmt: skip
