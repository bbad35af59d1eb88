"""Drives linear jobs through the matrix unit."""

import cocotb
import numpy as np
from cocotb.triggers import RisingEdge

from hw.activation_memory import Block
from hw.jobs import Dest
from hw.spec.config import ArchConfig
from hw.spec.formats import BLOCK_LEN
from sim.compiler import image
from sim.golden.block_quantise import block_quantise
from sim.golden.matmul import dot
from sim.golden.model import Linear
from sim.golden.requantise import requantise
from tests.hw.matrix_unit import MatrixUnit
from tests.support.bench import STALLS, collects, obeys_rules, pack, params, sends, start, watchdog

CONFIG = ArchConfig(**params()["config"])
UNIT = MatrixUnit(CONFIG)
JOB = UNIT.i_job.payload.shape()
WORD = UNIT.i_words.payload.shape()
RESULT = UNIT.o_act.payload.shape()


def random_linear(rng, outputs, inputs, bias):
    """Return a linear operator whose results neither all saturate nor all vanish."""
    return Linear(
        weight=rng.integers(-127, 128, (outputs, inputs), dtype=np.int8),
        multiplier=rng.integers(1, 1 << 16, outputs).astype(np.uint16),
        shift1=2,
        shift2=29,
        out_width=32,
        bias=rng.integers(-(1 << 20), 1 << 20, outputs).astype(np.int32) if bias else None,
    )


def stream_words(linear):
    """Return the words of the operator's stream, as lists of signed bytes."""
    out = np.zeros(image.linear_bytes(CONFIG, [linear]), dtype=np.uint8)
    image.pack_linear(CONFIG, [linear], out)
    return out.view(np.int8).reshape(-1, CONFIG.cols).tolist()


async def fill(dut, values, exponents):
    """Write rows of blocks into the activation memory, from block 0."""
    for row in range(len(values)):
        for block in range(exponents.shape[1]):
            q = values[row, block * BLOCK_LEN : (block + 1) * BLOCK_LEN].tolist()
            dut.write_en.value = 1
            dut.write_row.value = row
            dut.write_block.value = block
            dut.write.value = pack(Block, {"q": q, "exp": int(exponents[row, block])})
            await RisingEdge(dut.clk)
    dut.write_en.value = 0


def expected_lanes(rows, linear, values, exponents):
    """Return results as the unit offers them: strip, row, beat."""
    sums = dot(values, exponents, linear.weight)
    y = requantise(
        sums, linear.multiplier, linear.shift1, linear.shift2, linear.out_width, linear.bias
    )
    strips = y.reshape(rows, -1, CONFIG.beats, CONFIG.lanes).transpose(1, 0, 2, 3)
    return strips.reshape(-1, CONFIG.lanes).tolist()


async def run_job(dut, rng, *, rows, outputs, inputs, bias, stall, job_stall="never"):
    """Run one linear job and compare; return the cycles in which the array was fed."""
    linear = random_linear(rng, outputs, inputs, bias)
    wide = rng.integers(-(1 << 17), 1 << 17, (rows, inputs)) >> rng.integers(0, 12, (rows, 1))
    values, exponents = block_quantise(wide)
    await fill(dut, values, exponents)
    job = {
        "dest": Dest.RESIDUAL,
        "bias": int(bias),
        "strips": outputs // BLOCK_LEN,
        "blocks": inputs // BLOCK_LEN,
        "heads": 1,
        "head_rows": rows,
        "strips0": outputs // BLOCK_LEN,
        "shift1_0": linear.shift1,
        "shift2_0": linear.shift2,
    }
    words = cocotb.start_soon(sends(dut, "i_words", WORD, stream_words(linear), stall=stall))
    await sends(dut, "i_job", JOB, [job])
    expected = expected_lanes(rows, linear, values, exponents)
    got = await collects(dut, "o_act", RESULT, len(expected), stall=STALLS[job_stall])
    await words
    assert len({tuple(beat) for beat in expected}) > len(expected) // 2
    for number, (beat, want) in enumerate(zip(got, expected, strict=True)):
        assert beat["data"] == want, f"beat {number} is {beat['data']}, expected {want}"
        assert beat["meta"]["last"] == (number == len(expected) - 1)
    while dut.busy.value:
        await RisingEdge(dut.clk)


@cocotb.test
@cocotb.parametrize(("stall", list(STALLS)), ("bias", [False, True]))
async def results_equal_golden(dut, stall, bias):
    """Jobs of several shapes, one after the other."""
    rng = np.random.default_rng(3)
    await start(dut)
    cocotb.start_soon(watchdog(dut, 100_000))
    cocotb.start_soon(obeys_rules(dut, "o_act"))
    for rows, outputs, inputs in ((1, 64, 64), (3, 32, 32), (CONFIG.max_rows, 96, 96)):
        await run_job(
            dut, rng, rows=rows, outputs=outputs, inputs=inputs, bias=bias,
            stall=STALLS[stall], job_stall=stall,
        )  # fmt: skip


@cocotb.test
async def tiles_follow_without_bubbles(dut):
    """One row: a tile takes as many cycles as it has words, whatever the strip."""
    rng = np.random.default_rng(4)
    await start(dut)
    starved = 0

    async def count():
        nonlocal starved
        while True:
            await RisingEdge(dut.clk)
            starved += int(dut.starved.value)

    cocotb.start_soon(count())
    await run_job(dut, rng, rows=1, outputs=64, inputs=256, bias=False, stall=STALLS["never"])
    tiles = 64 * 256 // (CONFIG.rows * CONFIG.cols)
    headers = 2 * 2 * BLOCK_LEN // CONFIG.cols
    assert starved <= tiles * (CONFIG.rows - 1) + headers + 4
