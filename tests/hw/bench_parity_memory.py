"""Benches for `test_parity_memory`."""

import random

import cocotb
from cocotb.triggers import ClockCycles, ReadOnly, RisingEdge

from hw.lib.parity_memory import ParityMemory
from tests.support.bench import params, start

SEED = 7
LANE_WIDTH, LANES, DEPTH = (params()[name] for name in ("lane_width", "lanes", "depth"))
TABLE = params()["table"]
ALL = (1 << LANES) - 1
ROW_WIDTH = LANES * (LANE_WIDTH + -(-LANE_WIDTH // 8))


def words(dut):
    return dut.store.words.words


async def begins(dut):
    """Random contents, then a sweep."""
    rng = random.Random(SEED)
    await start(dut)
    for row in range(len(words(dut))):
        words(dut)[row].value = rng.getrandbits(ROW_WIDTH)
    dut.write.value = rng.getrandbits(LANES * LANE_WIDTH)
    dut.sweep.value = 1
    for row in range(len(words(dut))):
        dut.sweep_row.value = row
        await RisingEdge(dut.clk)
    dut.sweep.value = 0
    await ClockCycles(dut.clk, 1 + ParityMemory.LATENCY + 1)


async def writes(dut, row, value, lanes=ALL):
    dut.write_en.value, dut.write_addr.value, dut.write.value = lanes, row, value
    await RisingEdge(dut.clk)
    dut.write_en.value = 0


def merged(old, new, lanes):
    mask = sum(((1 << LANE_WIDTH) - 1) << n * LANE_WIDTH for n in range(LANES) if lanes >> n & 1)
    return old & ~mask | new & mask


@cocotb.test()
async def no_word_is_wrong_after_a_sweep(dut):
    await begins(dut)
    dut.read_en.value = 1
    for row in range(DEPTH):
        dut.read_addr.value = dut.look_addr.value = row
        await RisingEdge(dut.clk)
        await ReadOnly()
        assert not int(dut.error.value)
        await RisingEdge(dut.clk)


@cocotb.test()
async def words_and_lanes_are_as_without_parity_and_never_wrong(dut):
    await begins(dut)
    rng = random.Random(SEED)
    held = {}
    for row in range(DEPTH):
        held[row] = rng.getrandbits(LANES * LANE_WIDTH)
        await writes(dut, row, held[row])
    expected = None
    for _ in range(600):
        row, asked, looked = (rng.randrange(DEPTH) for _ in range(3))
        asked = rng.choice((asked, row))  # it is transparent, too
        value, lanes = rng.getrandbits(LANES * LANE_WIDTH), rng.getrandbits(LANES)
        dut.write_en.value, dut.write_addr.value, dut.write.value = lanes, row, value
        dut.read_en.value, dut.read_addr.value, dut.look_addr.value = 1, asked, looked
        dut.table_addr.value = number = rng.randrange(len(TABLE))
        await ReadOnly()
        assert int(dut.look.value) == held[looked]
        assert not int(dut.error.value)
        if expected:
            assert (int(dut.read.value), int(dut.entry.value)) == expected
        await RisingEdge(dut.clk)
        held[row] = merged(held[row], value, lanes)
        expected = held[asked], TABLE[number]


@cocotb.test()
async def every_flipped_bit_is_found_in_time_by_either_port(dut):
    await begins(dut)
    rng = random.Random(SEED)
    for row in range(DEPTH):
        await writes(dut, row, rng.getrandbits(LANES * LANE_WIDTH))
    last = DEPTH - 1
    dut.look_addr.value = last
    for bit in range(ROW_WIDTH):
        row = rng.randrange(DEPTH - 1)
        before = int(words(dut)[row].value)
        words(dut)[row].value = before ^ 1 << bit
        for port, late in (("read", 1), ("look", 0)):
            getattr(dut, f"{port}_addr").value = row
            dut.read_en.value = port == "read"
            await RisingEdge(dut.clk)
            getattr(dut, f"{port}_addr").value = last
            seen = []
            for _ in range(6):
                dut.read_en.value = 0
                await ReadOnly()
                seen.append(int(dut.error.value))
                await RisingEdge(dut.clk)
            # The first of `seen` is of the cycle after the one in which the row was named.
            place = late + ParityMemory.LATENCY - 1
            assert seen == [int(n == place) for n in range(6)], (port, bit, seen)
        words(dut)[row].value = before
        await RisingEdge(dut.clk)


@cocotb.test()
async def a_word_that_is_not_read_is_no_error(dut):
    await begins(dut)
    words(dut)[1].value = int(words(dut)[1].value) ^ 1
    dut.read_addr.value = 1  # and no enable
    for _ in range(8):
        await RisingEdge(dut.clk)
        await ReadOnly()
        assert not int(dut.error.value)
    await RisingEdge(dut.clk)
    # Written anew it is whole.
    await writes(dut, 1, 3)
    dut.read_en.value = 1
    for _ in range(8):
        await RisingEdge(dut.clk)
        await ReadOnly()
        assert not int(dut.error.value)


@cocotb.test()
async def every_flipped_bit_of_a_table_is_found(dut):
    await begins(dut)
    table = dut.store.table.table
    for row in range(len(TABLE)):
        for bit in range(8 + 1):
            before = int(table[row].value)
            table[row].value = before ^ 1 << bit
            dut.table_addr.value = row
            await ClockCycles(dut.clk, 1 + ParityMemory.LATENCY + 1)
            await ReadOnly()
            assert int(dut.error.value) == 2
            await RisingEdge(dut.clk)
            table[row].value = before
            await ClockCycles(dut.clk, 1 + ParityMemory.LATENCY + 1)
            await ReadOnly()
            assert not int(dut.error.value)
            await RisingEdge(dut.clk)
