"""Drives linear jobs through the matrix unit."""

import cocotb
import numpy as np
from cocotb.triggers import RisingEdge

from hw.spec.config import ArchConfig
from hw.spec.formats import BLOCK_LEN
from sim.compiler import image
from tests.hw.linear_jobs import expected_lanes, fill, job_of, random_linear, random_rows
from tests.hw.matrix_unit import MatrixUnit
from tests.support.bench import STALLS, collects, obeys_rules, params, sends, start, watchdog

CONFIG = ArchConfig(**params()["config"])
UNIT = MatrixUnit(CONFIG)
JOB = UNIT.i_job.payload.shape()
WORD = UNIT.i_words.payload.shape()
RESULT = UNIT.o_act.payload.shape()


def stream_words(linear):
    """Return the words of the operator's stream, as lists of signed bytes."""
    out = np.zeros(image.linear_bytes(CONFIG, [linear]), dtype=np.uint8)
    image.pack_linear(CONFIG, [linear], out)
    return out.view(np.int8).reshape(-1, CONFIG.cols).tolist()


async def run_job(dut, rng, *, rows, outputs, inputs, bias, stall, job_stall="never"):
    """Run one linear job and compare; return the cycles in which the array was fed."""
    linear = random_linear(rng, outputs, inputs, bias)
    values, exponents = random_rows(rng, rows, inputs)
    await fill(dut, values, exponents)
    words = cocotb.start_soon(sends(dut, "i_words", WORD, stream_words(linear), stall=stall))
    await sends(dut, "i_job", JOB, [job_of(linear, rows)])
    expected = expected_lanes(CONFIG, linear, values, exponents)
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
    assert starved <= tiles * (CONFIG.rows - 1) + headers + 6
