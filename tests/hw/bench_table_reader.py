"""Bench for `hw.table_reader`."""

import random

import cocotb
from cocotb.triggers import ClockCycles, ReadOnly, RisingEdge

from hw.lib.slice import Slice
from hw.spec.config import ArchConfig
from hw.spec.isa import MAX_TABLE_WORDS
from hw.table_reader import TableReader
from tests.support.bench import (
    STALLS,
    expects,
    measures,
    obeys_rules,
    params,
    sends,
    start,
    watchdog,
)

CONFIG = ArchConfig(**params()["config"])
DUT = TableReader(CONFIG)
WORD = DUT.i_words.payload.shape()
ENTRY = DUT.o_entry.payload.shape()
#: Words of a table row are a multiple of this: rows are padded to whole entries.
LEAST = max(1, CONFIG.entry_bytes // CONFIG.cols)


def words_of(rng, count):
    choices = (-128, -1, 0, 127)
    return [
        [rng.choice((*choices, rng.randrange(-128, 128))) for _ in range(CONFIG.cols)]
        for _ in range(count)
    ]


def entries_of(words):
    flat = [byte & 0xFF for word in words for byte in word]
    size = CONFIG.entry_bytes
    assert len(flat) % size == 0
    return [flat[n : n + size] for n in range(0, len(flat), size)]


async def prepare(dut, cycles=20_000):
    await start(dut)
    cocotb.start_soon(watchdog(dut, cycles))
    cocotb.start_soon(obeys_rules(dut, "o_entry"))


async def begin(dut, words, rows):
    """Start, and return the number of words that the unit then takes."""
    dut.words.value = words
    dut.rows.value = rows
    dut.start.value = 1
    await ReadOnly()
    assert dut.busy.value
    await RisingEdge(dut.clk)
    dut.start.value = 0
    return words * rows


async def until_idle(dut):
    while True:
        await ReadOnly()
        if not dut.busy.value:
            break
        await RisingEdge(dut.clk)
    await RisingEdge(dut.clk)


@cocotb.test()
@cocotb.parametrize(i_stall=list(STALLS), o_stall=list(STALLS))
async def entries_are_the_words_that_were_asked_for(dut, i_stall, o_stall):
    """Tables of all sizes; a header after each waits until the table is taken."""
    rng = random.Random(81)
    await prepare(dut)
    stall = STALLS[i_stall]
    for words, rows in ((LEAST, 1), (LEAST, CONFIG.max_rows), (8 * LEAST, 3), (5 * LEAST, 1)):
        table, header = words_of(rng, words * rows), words_of(rng, 4 * LEAST)
        surplus = words_of(rng, 1)
        await begin(dut, words, rows)
        sender = cocotb.start_soon(sends(dut, "i_words", WORD, table, stall=stall))
        other = cocotb.start_soon(sends(dut, "i_header", WORD, header, stall=stall))
        entries = entries_of(table + header)
        await expects(dut, "o_entry", ENTRY, entries, stall=STALLS[o_stall])
        await sender
        await other
        await until_idle(dut)
        dut.i_words__payload.value = surplus[0][0] & 0xFF
        dut.i_words__valid.value = 1
        for _ in range(4):
            await ReadOnly()
            assert not dut.i_words__ready.value
            assert not dut.busy.value
            await RisingEdge(dut.clk)
        dut.i_words__valid.value = 0


@cocotb.test()
async def timing_is_as_documented(dut):
    """The first word in the cycle after start, then as fast as the wider side."""
    rng = random.Random(82)
    words = 16 * LEAST
    table = words_of(rng, words)
    count = len(entries_of(table))
    await prepare(dut)
    dut.o_entry__ready.value = 1
    cocotb.start_soon(sends(dut, "i_words", WORD, table))
    watching = cocotb.start_soon(measures(dut, "i_words", "o_entry", count))
    await begin(dut, words, 1)
    await ReadOnly()
    assert dut.i_words__ready.value
    latency, cycles = await watching
    assert latency == LEAST + 2 * Slice.LATENCY
    assert cycles == max(words, count) - max(words // count, 1) + 1


@cocotb.test()
@cocotb.parametrize(rows=[1, CONFIG.max_rows - 1, CONFIG.max_rows])
async def rows_may_have_as_many_words_as_an_operator_can_say(dut, rows):
    """Python sleeps while they pass."""
    words = (MAX_TABLE_WORDS if rows == 1 else 33) // LEAST * LEAST
    cycles = rows * words * max(1, CONFIG.cols // CONFIG.entry_bytes)
    await start(dut)
    dut.o_entry__ready.value = 1
    dut.i_words__valid.value = 1
    assert await begin(dut, words, rows) == rows * words
    # The last word arrives when what it was to become does not wait for it any more.
    spare = CONFIG.cols // CONFIG.entry_bytes + 2 * Slice.LATENCY + 2
    await ClockCycles(dut.clk, max(1, cycles - spare))
    await ReadOnly()
    assert dut.busy.value
    await ClockCycles(dut.clk, spare)
    await ReadOnly()
    assert not dut.busy.value


@cocotb.test()
async def headers_pass_at_rest(dut):
    rng = random.Random(83)
    header = words_of(rng, 12 * LEAST)
    await prepare(dut)
    sender = cocotb.start_soon(sends(dut, "i_header", WORD, header))
    await expects(dut, "o_entry", ENTRY, entries_of(header))
    await sender
    assert not dut.busy.value
