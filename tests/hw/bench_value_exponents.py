"""Bench for `hw.value_exponents`."""

import itertools
import random

import cocotb
from cocotb.triggers import ReadOnly, RisingEdge

from hw.spec.config import ArchConfig
from hw.spec.formats import BLOCK_LEN, EXP_WIDTH
from hw.value_exponents import ValueExponents
from tests.support.bench import STALLS, params, sends, start, unpack, watchdog

CONFIG = ArchConfig(**params()["config"])
DUT = ValueExponents(CONFIG)
WORD = DUT.i_words.payload.shape()
TOP = (1 << EXP_WIDTH) - 1
HEAD_BLOCKS = CONFIG.max_head_dim // BLOCK_LEN
SPANS = CONFIG.max_context // BLOCK_LEN

#: (first_pos, rows): both ends of either, on both sides of words and of blocks.
PASSES = [
    (0, 1),
    (0, CONFIG.max_rows),
    (CONFIG.cols - 1, 1),
    (CONFIG.cols, 1),
    (CONFIG.cols - 1, 2),
    (BLOCK_LEN - 3, 6),
    (BLOCK_LEN - 3, CONFIG.max_rows),
    (BLOCK_LEN - 1, 1),
    (CONFIG.max_context - 1, 1),
    (CONFIG.max_context - CONFIG.max_rows, CONFIG.max_rows),
    (CONFIG.max_context - CONFIG.max_rows - 1, CONFIG.max_rows - 1),
]


def exponents_of(rng, first_pos, rows, pos_blocks, head_blocks):
    """Return exponents (block, position): small but for peaks, some of them around the rows.

    In some blocks every row sees a larger one than the row before.
    """
    table = []
    for _ in range(head_blocks):
        top = rng.choice((1, 4, TOP))
        line = [rng.randrange(top) for _ in range(pos_blocks * BLOCK_LEN)]
        if rng.random() < 0.5:
            for pos in (0, first_pos - 1, first_pos, first_pos + 1, len(line) - 1):
                if 0 <= pos < len(line) and rng.random() < 0.4:
                    line[pos] = rng.choice((TOP, TOP - 1, top))
        else:
            rising = sorted(rng.sample(range(1, TOP + 1), rows))
            line[:first_pos] = [rng.randrange(rising[0]) for _ in range(first_pos)]
            line[first_pos : first_pos + rows] = rising
        table.append(line)
    return table


def words_of(table):
    flat = [exp for line in table for exp in line]
    return [flat[n : n + CONFIG.cols] for n in range(0, len(flat), CONFIG.cols)]


class Held:
    """What the unit is to hold: exponents by half, block, span, part; maxima by block and row."""

    def __init__(self):
        self.exponents, self.maxima = {}, {}

    async def loads(self, dut, table, first_pos, rows, bank, stall="never"):
        """Load a table into a bank."""
        await loads(dut, table, first_pos, rows, stall, bank)
        for block, line in enumerate(table):
            for number in range(len(line) // CONFIG.feed_len):
                span, part = divmod(number, CONFIG.feed_parts)
                exponents = line[CONFIG.feed_len * number :][: CONFIG.feed_len]
                self.exponents[bank % 2, block, span, part] = exponents
            for row in range(rows):
                place = bank * (CONFIG.max_rows // 2) + row
                self.maxima[block, place] = max(line[: first_pos + row + 1])

    async def compares(self, dut, rng):
        """Read all of it, through all ports at once, each in an order of its own."""
        ports = {
            "read": (("read_half", "read_block", "read_pos_block", "read_part"), self.exponents),
            "feed_max": (("feed_block", "feed_row"), self.maxima),
            "drain_max": (("drain_block", "drain_row"), self.maxima),
        }
        orders = [rng.sample(list(held), len(held)) for _, held in ports.values()]
        dut.drain_en.value = 1
        for places in itertools.zip_longest(*orders):
            asked = list(zip(ports.items(), places, strict=True))
            for (_, (names, _)), place in asked:
                for name, value in zip(names, place or [0] * len(names), strict=True):
                    getattr(dut, name).value = value
            await RisingEdge(dut.clk)
            await ReadOnly()
            for (port, (names, held)), place in asked:
                if place is not None:
                    got = unpack(getattr(DUT, port).shape(), getattr(dut, port).value)
                    assert got == held[place], f"{port} at {dict(zip(names, place, strict=True))}"
            await RisingEdge(dut.clk)
        dut.drain_en.value = 0


async def loads(dut, table, first_pos, rows, stall="never", bank=0):
    """Load a table, and return for how many cycles the unit was busy."""
    rng = random.Random(first_pos)
    dut.bank.value = bank
    dut.first_pos.value = first_pos
    dut.rows.value = rows
    dut.pos_blocks.value = len(table[0]) // BLOCK_LEN
    dut.head_blocks.value = len(table)
    dut.start.value = 1
    sender = cocotb.start_soon(sends(dut, "i_words", WORD, words_of(table), stall=STALLS[stall]))
    cycles = 0
    while True:
        await ReadOnly()
        if not dut.busy.value:
            break
        assert not (cycles == 0 and dut.i_words__ready.value)
        cycles += 1
        await RisingEdge(dut.clk)
        dut.start.value = 0
        # What belongs to the next head may be there already.
        for name in ("bank", "first_pos", "rows", "pos_blocks", "head_blocks"):
            port = getattr(dut, name)
            port.value = rng.getrandbits(len(port))
    await RisingEdge(dut.clk)
    assert sender.done(), "busy fell before the last word"
    return cycles


async def asks(dut, answer, **addresses):
    """Return what a read port says one cycle after these addresses."""
    for name, value in addresses.items():
        getattr(dut, name).value = value
    await RisingEdge(dut.clk)
    for name in addresses:
        getattr(dut, name).value = 0
    await ReadOnly()
    bits = getattr(dut, answer).value
    await RisingEdge(dut.clk)
    return unpack(getattr(DUT, answer).shape(), bits)


async def prepare(dut, cycles=60_000):
    await start(dut)
    cocotb.start_soon(watchdog(dut, cycles))


@cocotb.test()
@cocotb.parametrize(stall=list(STALLS))
async def exponents_and_maxima_equal_slow_code(dut, stall):
    """Heads of all sizes, one after the other: none disturbs what another left."""
    rng = random.Random(21)
    held = Held()
    await prepare(dut)
    for first_pos, rows in PASSES:
        least = -(-(first_pos + rows) // BLOCK_LEN)
        pos_blocks = rng.choice((least, SPANS))
        table = exponents_of(rng, first_pos, rows, pos_blocks, rng.choice((1, HEAD_BLOCKS)))
        await held.loads(dut, table, first_pos, rows, rng.choice((0, 2)), stall)
        await held.compares(dut, rng)


@cocotb.test()
async def banks_leave_each_other_alone(dut):
    """Exponents of two banks and maxima of all four are there at once."""
    rng = random.Random(23)
    held = Held()
    await prepare(dut)
    most = CONFIG.max_rows // 2
    for _ in range(4):
        for bank in rng.sample(range(4), 4):
            rows = rng.choice((most, rng.randrange(1, most + 1)))
            # Positions that no row sees come behind the last row, but for the last choice.
            first_pos = rng.choice((0, 1, BLOCK_LEN - rows, CONFIG.max_context - rows))
            table = exponents_of(rng, first_pos, rows, SPANS, HEAD_BLOCKS)
            table[0][0] = TOP - bank
            await held.loads(dut, table, first_pos, rows, bank)
            await held.compares(dut, rng)


@cocotb.test()
async def a_later_peak_is_not_seen(dut):
    rng = random.Random(24)
    held = Held()
    await prepare(dut)
    for peak in range(2 * CONFIG.cols):
        line = [3] * BLOCK_LEN
        line[min(peak, BLOCK_LEN - 1)] = TOP
        first_pos = CONFIG.cols // 2
        await held.loads(dut, [line], first_pos, 2, 0)
        await held.compares(dut, rng)


@cocotb.test()
async def drained_maximum_holds_while_not_enabled(dut):
    rng = random.Random(22)
    await prepare(dut)
    table = [[rng.randrange(TOP) for _ in range(BLOCK_LEN)]]
    table[0][0], table[0][1] = 2, 9
    await loads(dut, table, 0, 2)
    assert await asks(dut, "drain_max", drain_en=1, drain_row=0) == 2
    assert await asks(dut, "drain_max", drain_row=1) == 2
    assert await asks(dut, "drain_max", drain_en=1, drain_row=1) == 9


@cocotb.test()
async def timing_is_as_documented(dut):
    await prepare(dut)
    for first_pos, rows in PASSES:
        pos_blocks = -(-(first_pos + rows) // BLOCK_LEN)
        for head_blocks in {1, HEAD_BLOCKS}:
            table = [[0] * BLOCK_LEN * pos_blocks] * head_blocks
            words = pos_blocks * BLOCK_LEN // CONFIG.cols
            busy = 2 + head_blocks * (words + rows) + DUT.tail_cycles
            assert await loads(dut, table, first_pos, rows) == busy


@cocotb.test()
async def no_word_is_taken_but_those_asked_for(dut):
    await prepare(dut)
    word = [0] * CONFIG.cols
    cocotb.start_soon(sends(dut, "i_words", WORD, [word] * 1000))
    for _ in range(20):
        await ReadOnly()
        assert not dut.i_words__ready.value
        await RisingEdge(dut.clk)
