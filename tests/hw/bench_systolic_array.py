"""Bench for `hw.systolic_array`."""

import random

import cocotb
import numpy as np
from cocotb.triggers import ReadOnly, RisingEdge

from hw.spec.formats import BLOCK_LEN
from hw.systolic_array import SystolicArray
from sim.golden.matmul import dot
from tests.support.bench import pack, params, start, unpack, watchdog

ROWS = params()["rows"]
COLS = params()["cols"]
REGISTERS = params()["registers"]
DUT = SystolicArray(rows=ROWS, cols=COLS, registers=REGISTERS)
ACT, WEIGHT, PSUM = DUT.act.shape(), DUT.weight.shape(), DUT.psum.shape()


def golden(act, weight):
    """Return act @ weight with the golden model, whose blocks have 32 elements."""
    values = np.zeros((len(act), BLOCK_LEN), dtype=np.int8)
    operand = np.zeros((COLS, BLOCK_LEN), dtype=np.int8)
    values[:, :ROWS] = act
    operand[:, :ROWS] = weight.T
    return dot(values, np.zeros((len(act), 1), dtype=np.uint8), operand)


def numbers(rng, shape):
    """Return elements of the whole range, or only of its ends."""
    if rng.random() < 0.2:
        return np.full(shape, rng.choice([-127, 127]), dtype=np.int8)
    flat = [rng.randrange(-127, 128) for _ in range(shape[0] * shape[1])]
    return np.array(flat, dtype=np.int8).reshape(shape)


def schedule(rng, tile_rows, word_gaps, act_gaps):
    """Plan when words and rows enter, as early as the contract and the gaps allow.

    Returns
    -------
    words : dict
        Cycle to (row of the tile, weights).
    acts : dict
        Cycle to (whether it is a tile's first, activations).
    psums : dict
        Cycle of ``act`` to the sums expected from it.
    """
    words, acts, psums = {}, {}, {}
    first_word = next_act = 0
    for count in tile_rows:
        weight, act = numbers(rng, (ROWS, COLS)), numbers(rng, (count, ROWS))
        sums = golden(act, weight)
        cycle = first_word - 1
        for row in range(ROWS):
            cycle += 1 + next(word_gaps)
            words[cycle] = (row, weight[row].tolist())
        cycle = max(next_act, cycle + 1) - 1
        for row in range(count):
            cycle += 1 + next(act_gaps)
            acts[cycle] = (row == 0, act[row].tolist())
            psums[cycle] = sums[row].tolist()
            if row == 0:
                first_word = cycle
        next_act = cycle + 1
    return words, acts, psums


async def plays(dut, rng, words, acts, psums):
    """Drive a schedule, with noise where nothing is valid, and check every cycle."""
    last = max(acts) + DUT.latency
    cocotb.start_soon(watchdog(dut, last + 100))
    for cycle in range(last + 4):
        row, weight = words.get(cycle, (rng.randrange(ROWS), None))
        swap, act = acts.get(cycle, (rng.getrandbits(1), None))
        dut.weight_valid.value = weight is not None
        dut.weight_row.value = row
        dut.weight.value = rng.getrandbits(8 * COLS) if weight is None else pack(WEIGHT, weight)
        dut.act_valid.value = act is not None
        dut.act_swap.value = int(swap)
        dut.act.value = rng.getrandbits(8 * ROWS) if act is None else pack(ACT, act)
        await ReadOnly()
        expected = psums.get(cycle - DUT.latency)
        assert int(dut.psum_valid.value) == (expected is not None), f"cycle {cycle}"
        if expected is not None:
            got = unpack(PSUM, int(dut.psum.value))
            assert got == expected, f"cycle {cycle}: {got}, expected {expected}"
        await RisingEdge(dut.clk)


def no_gaps():
    while True:
        yield 0


def random_gaps(rng):
    while True:
        yield rng.choice((0, 0, 0, 0, 1, 2, 5))


@cocotb.test()
@cocotb.parametrize(words=["at_once", "at_random"], acts=["at_once", "at_random"])
async def sums_equal_golden(dut, words, acts):
    rng = random.Random(f"{ROWS} {COLS} {words} {acts}")
    word_gaps = no_gaps() if words == "at_once" else random_gaps(rng)
    act_gaps = no_gaps() if acts == "at_once" else random_gaps(rng)
    counts = [1, 1, 1, 40, 2, ROWS, 1, *(rng.randrange(1, 41) for _ in range(12))]
    await start(dut)
    await plays(dut, rng, *schedule(rng, counts, word_gaps, act_gaps))


@cocotb.test()
async def a_tile_of_one_row_takes_as_many_cycles_as_it_has_words(dut):
    rng = random.Random(1)
    words, acts, psums = schedule(rng, [1] * 20, no_gaps(), no_gaps())
    assert sorted(words) == list(range(20 * ROWS))
    assert sorted(acts) == list(range(ROWS, 20 * ROWS + 1, ROWS))
    await start(dut)
    await plays(dut, rng, words, acts, psums)


@cocotb.test()
async def latency_is_as_documented(dut):
    rng = random.Random(2)
    words, acts, psums = schedule(rng, [1], no_gaps(), no_gaps())
    assert DUT.latency == (2 * ROWS + COLS + 3 if REGISTERS else ROWS + COLS)
    await start(dut)
    await plays(dut, rng, words, acts, psums)
