"""Bench for `hw.accumulator`."""

import random

import cocotb
import numpy as np
from cocotb.triggers import ReadOnly, RisingEdge

from hw.accumulator import SHIFT_WIDTH, Accumulator
from hw.spec.formats import ACC_WIDTH, BLOCK_LEN, PSUM_WIDTH
from sim.golden.matmul import dot
from tests.support.bench import pack, params, start, unpack, watchdog

COLS = params()["cols"]
DEPTH = params()["depth"]
DUT = Accumulator(cols=COLS, depth=DEPTH)
PSUM, SHIFT, SUM = DUT.i_psum.shape(), DUT.i_shift.shape(), DUT.read_data.shape()
LOW, HIGH = -(1 << (PSUM_WIDTH - 1)), (1 << (PSUM_WIDTH - 1)) - 1


def wrapped(value):
    """Return the value modulo 2**ACC_WIDTH, signed."""
    half = 1 << (ACC_WIDTH - 1)
    return (value + half) % (2 * half) - half


def drive(dut, update, read, noise):
    dut.i_valid.value = update is not None
    if update is not None:
        dut.i_bank.value, dut.i_addr.value = update["row"]
        dut.i_first.value = update["first"]
        dut.i_psum.value = pack(PSUM, update["psum"])
        dut.i_shift.value = pack(SHIFT, update["shift"])
    # Without `read_en` the address means nothing.
    dut.read_en.value = read is not None
    dut.read_bank.value, dut.read_addr.value = read or noise


async def plays(dut, updates, reads):
    """Issue an update and a read (either may be None) in each cycle; check every cycle's data."""
    sums, history = {}, []
    expected = None
    for number, (update, read) in enumerate(zip(updates, reads, strict=True)):
        # What a read of this cycle sees: all updates from LATENCY cycles ago and before.
        if len(history) >= Accumulator.LATENCY:
            late = history[-Accumulator.LATENCY]
            if late is not None:
                old = [0] * COLS if late["first"] else sums[late["row"]]
                sums[late["row"]] = [
                    wrapped(o + (p << s))
                    for o, p, s in zip(old, late["psum"], late["shift"], strict=True)
                ]
        drive(dut, update, read, (number % 2, number % DEPTH))
        history.append(update)
        await ReadOnly()
        if expected is not None:
            got = unpack(SUM, int(dut.read_data.value))
            assert got == expected, f"cycle {number}: read {got}, expected {expected}"
        if read is not None:
            writes = history[-Accumulator.LATENCY] if number >= Accumulator.LATENCY - 1 else None
            is_written = writes is not None and writes["row"] == read
            expected = None if is_written or read not in sums else list(sums[read])
        await RisingEdge(dut.clk)
    return sums


def random_update(rng, row, first):
    kind = rng.randrange(4)
    psum = [
        rng.choice([LOW, HIGH]) if kind == 0 else rng.randrange(LOW, HIGH + 1) for _ in range(COLS)
    ]
    high = (1, 20, 28, 1 << SHIFT_WIDTH)[kind]
    shift = [rng.randrange(high) for _ in range(COLS)]
    return {"row": row, "first": first, "psum": psum, "shift": shift}


@cocotb.test()
@cocotb.parametrize(rows=[1, 2, 3, 2 * DEPTH], idle=[0.0, 0.5])
async def sums_and_reads_are_exact_in_every_cycle(dut, rows, idle):
    rng = random.Random(f"{rows} {idle}")
    every = [(bank, addr) for addr in range(DEPTH) for bank in range(2)]
    chosen = rng.sample(every, min(rows, len(every)))
    await start(dut)
    cocotb.start_soon(watchdog(dut, 5000))
    updates, reads = [], []
    seen = set()
    for _ in range(1000):
        row = rng.choice(chosen)
        if rng.random() < idle:
            updates.append(None)
        else:
            updates.append(random_update(rng, row, row not in seen or rng.random() < 0.1))
            seen.add(row)
        reads.append(rng.choice(chosen) if rng.random() < 0.7 else None)
    # Where every cycle writes the row that is read, only these show its sum.
    rest = [None] * Accumulator.LATENCY + sorted(seen)
    await plays(dut, updates + [None] * (len(rest) + 1), reads + rest + [None])


@cocotb.test()
async def dot_products_equal_golden(dut):
    rng = np.random.default_rng(5)
    blocks = 8
    values = rng.integers(-127, 128, (DEPTH, blocks * BLOCK_LEN)).astype(np.int8)
    weight = rng.integers(-127, 128, (COLS, blocks * BLOCK_LEN)).astype(np.int8)
    values[0], weight[0] = 127, -127
    exponents = rng.integers(0, 18, (DEPTH, blocks)).astype(np.uint8)
    updates = []
    for block in range(blocks):
        part = slice(block * BLOCK_LEN, (block + 1) * BLOCK_LEN)
        psums = values[:, part].astype(np.int64) @ weight[:, part].T.astype(np.int64)
        for row in range(DEPTH):
            shift = [int(exponents[row, block])] * COLS
            psum = psums[row].tolist()
            updates.append({"row": (1, row), "first": block == 0, "psum": psum, "shift": shift})
    await start(dut)
    idle = [None] * Accumulator.LATENCY
    sums = await plays(
        dut,
        updates + idle + [None] * DEPTH,
        [None] * len(updates) + idle + [(1, row) for row in range(DEPTH)],
    )
    golden = dot(values, exponents, weight)
    assert [sums[1, row] for row in range(DEPTH)] == golden.tolist()
