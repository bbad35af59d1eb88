"""Bench for `hw.value_exponents`."""

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
    (BLOCK_LEN - 1, 1),
    (CONFIG.max_context - 1, 1),
    (CONFIG.max_context - CONFIG.max_rows, CONFIG.max_rows),
    (CONFIG.max_context - CONFIG.max_rows - 1, CONFIG.max_rows - 1),
]


def exponents_of(rng, first_pos, pos_blocks, head_blocks):
    """Return exponents (block, position), small but for peaks, some of them around the rows."""
    table = []
    for _ in range(head_blocks):
        top = rng.choice((1, 4, TOP))
        line = [rng.randrange(top) for _ in range(pos_blocks * BLOCK_LEN)]
        for pos in (0, first_pos - 1, first_pos, first_pos + 1, len(line) - 1):
            if 0 <= pos < len(line) and rng.random() < 0.4:
                line[pos] = rng.choice((TOP, TOP - 1, top))
        table.append(line)
    return table


def words_of(table):
    flat = [exp for line in table for exp in line]
    return [flat[n : n + CONFIG.cols] for n in range(0, len(flat), CONFIG.cols)]


async def loads(dut, table, first_pos, rows, stall="never", bank=0):
    """Load a table, and return for how many cycles the unit was busy."""
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
            getattr(dut, name).value = 0
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


async def compares(dut, table, first_pos, rows, bank=0):
    base, half = bank * (CONFIG.max_rows // 2), bank % 2
    for block, line in enumerate(table):
        for span in range(len(line) // BLOCK_LEN):
            got = await asks(dut, "read", read_half=half, read_block=block, read_pos_block=span)
            assert got == line[BLOCK_LEN * span :][:BLOCK_LEN], f"block {block}, span {span}"
        for row in range(rows):
            largest = max(line[: first_pos + row + 1])
            place = base + row
            feed = await asks(dut, "feed_max", feed_block=block, feed_row=place)
            drain = await asks(dut, "drain_max", drain_en=1, drain_block=block, drain_row=place)
            assert (feed, drain) == (largest, largest), f"block {block}, row {row}"


async def prepare(dut, cycles=60_000):
    await start(dut)
    cocotb.start_soon(watchdog(dut, cycles))


@cocotb.test()
@cocotb.parametrize(stall=list(STALLS))
async def exponents_and_maxima_equal_slow_code(dut, stall):
    """Heads of all sizes, one after the other: nothing is left of the head before."""
    rng = random.Random(21)
    await prepare(dut)
    for first_pos, rows in PASSES:
        least = -(-(first_pos + rows) // BLOCK_LEN)
        pos_blocks = rng.choice((least, SPANS))
        table = exponents_of(rng, first_pos, pos_blocks, rng.choice((1, HEAD_BLOCKS)))
        bank = rng.choice((0, 2))
        await loads(dut, table, first_pos, rows, stall, bank)
        await compares(dut, table, first_pos, rows, bank)


@cocotb.test()
async def banks_leave_each_other_alone(dut):
    """Exponents of two banks and maxima of all four are there at once."""
    rng = random.Random(23)
    await prepare(dut)
    most, tables = CONFIG.max_rows // 2, []
    first_pos = CONFIG.max_context - most
    for bank in range(4):
        table = exponents_of(rng, first_pos, SPANS, HEAD_BLOCKS)
        table[0][0] = TOP - bank
        await loads(dut, table, first_pos, most, bank=bank)
        tables.append(table)
    for bank in (2, 3):
        await compares(dut, tables[bank], first_pos, most, bank)
    for bank, table in enumerate(tables):
        for row in range(most):
            largest = max(table[0][: first_pos + row + 1])
            place = bank * most + row
            assert await asks(dut, "feed_max", feed_row=place) == largest
            assert await asks(dut, "drain_max", drain_en=1, drain_row=place) == largest


@cocotb.test()
async def a_later_peak_is_not_seen(dut):
    await prepare(dut)
    for peak in range(2 * CONFIG.cols):
        line = [3] * BLOCK_LEN
        line[min(peak, BLOCK_LEN - 1)] = TOP
        first_pos = CONFIG.cols // 2
        await loads(dut, [line], first_pos, 2)
        await compares(dut, [line], first_pos, 2)


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
