"""Drives linear jobs through the matrix unit."""

import cocotb
import numpy as np
from amaranth.hdl import Shape
from cocotb.triggers import RisingEdge

from hw.jobs import Dest
from hw.spec.config import ArchConfig
from hw.spec.formats import BLOCK_LEN
from sim.compiler import image
from sim.golden.matmul import dot
from sim.golden.requantise import requantise
from tests.hw.fed_rows import places
from tests.hw.linear_jobs import (
    WIDTHS,
    expected_lanes,
    fill,
    job_of,
    random_linear,
    random_rows,
)
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


def random_job(rng, dest, values, exponents):
    """Return a job of a destination with all else at random, its operator, and its results."""
    counts = {Dest.QKV: (2, 1, 1), Dest.GLU: (2, 2, 0)}.get(dest, (int(rng.integers(1, 4)), 0, 0))
    head_blocks = 1 + int(rng.integers(2)) if dest == Dest.QKV else int(rng.integers(3))
    places_ = places(dest, counts, head_blocks)
    heads, blocks = (int(n) for n in rng.integers(1, 3, 2))
    head_rows = int(rng.integers(1, CONFIG.max_rows // heads + 1))
    src = int(rng.integers(CONFIG.act_blocks - blocks - (heads - 1) * head_blocks + 1))
    shifts = {n: (int(rng.integers(4)), int(rng.integers(24, 32))) for n in range(3)}
    linear = random_linear(rng, len(places_) * BLOCK_LEN, blocks * BLOCK_LEN, rng.integers(2))
    job = {
        name: int(rng.integers(1 << Shape.cast(shape).width))
        for name, shape in JOB.members.items()
    } | {
        **{"dest": dest, "bias": int(linear.bias is not None), "strips": len(places_)},
        **{"blocks": blocks, "heads": heads, "head_rows": head_rows, "head_blocks": head_blocks},
        **{"row0": int(rng.integers(CONFIG.max_rows - head_rows + 1)), "src": src},
    }  # fmt: skip
    for n, (shift1, shift2) in shifts.items():
        job |= {f"strips{n}": counts[n], f"shift1_{n}": shift1, f"shift2_{n}": shift2}
    return job, linear, list(_results(job, linear, places_, values, exponents))


def _results(job, linear, places_, values, exponents):
    """Yield each beat of a job's results, and its label."""
    beats = [(row, beat) for row in range(job["head_rows"]) for beat in range(CONFIG.beats)]
    for number, place in enumerate(places_):
        section, strip = place[:2]
        outputs = slice(number * BLOCK_LEN, (number + 1) * BLOCK_LEN)
        bias = None if linear.bias is None else linear.bias[outputs]
        for head in range(job["heads"]):
            rows = slice(job["row0"], job["row0"] + job["head_rows"])
            begin = job["src"] + head * job["head_blocks"]
            part = slice(begin * BLOCK_LEN, (begin + job["blocks"]) * BLOCK_LEN)
            y = requantise(
                dot(
                    values[rows, part],
                    exponents[rows, begin : begin + job["blocks"]],
                    linear.weight[outputs],
                ),
                linear.multiplier[outputs],
                job[f"shift1_{section}"], job[f"shift2_{section}"], WIDTHS[job["dest"]], bias,
            )  # fmt: skip
            for row, beat in beats:
                end = (head, row, beat) == (job["heads"] - 1, *beats[-1])
                index = head * job["head_rows"] + row
                label = {
                    "dest": job["dest"].value,
                    "row": job["row0"] + row,
                    "index": (job["half"] * CONFIG.max_rows // 2 + index) % CONFIG.max_rows,
                    "half": job["half"],
                    "head_row": row,
                    **dict(zip(("section", "strip", "head", "block"), place, strict=False)),
                    "beat": beat,
                    "dst": (job["dst"] + head * job["head_blocks"] + strip) % 1024,
                    "strip_end": int(end),
                    "last": int(end and number == len(places_) - 1),
                }
                yield label, y[row, beat * CONFIG.lanes :][: CONFIG.lanes].tolist()


@cocotb.test
@cocotb.parametrize(stall=list(STALLS))
async def jobs_of_all_kinds_follow_each_other(dut, stall):
    """Data and label of every beat, while jobs overlap."""
    rng = np.random.default_rng(7)
    await start(dut)
    cocotb.start_soon(watchdog(dut, 200_000))
    cocotb.start_soon(obeys_rules(dut, "o_act"))
    values, exponents = random_rows(rng, CONFIG.max_rows, CONFIG.act_blocks * BLOCK_LEN)
    await fill(dut, values, exponents)
    kinds = [Dest.RESIDUAL, Dest.QKV, Dest.GLU, Dest.LOGITS]
    jobs = [random_job(rng, dest, values, exponents) for dest in rng.permutation(kinds)]
    words = [word for _, linear, _ in jobs for word in stream_words(linear)]
    cocotb.start_soon(sends(dut, "i_words", WORD, words, stall=STALLS[stall]))
    cocotb.start_soon(sends(dut, "i_job", JOB, [job for job, _, _ in jobs]))
    wanted = [beat for _, _, results in jobs for beat in results]
    got = await collects(dut, "o_act", RESULT, len(wanted), stall=STALLS[stall])
    for number, (beat, (label, lanes)) in enumerate(zip(got, wanted, strict=True)):
        assert beat["data"] == lanes, f"beat {number} is {beat['data']}, expected {lanes}"
        # What a destination has no use for says nothing.
        assert beat["meta"] | label == beat["meta"], f"beat {number} is {beat['meta']}, not {label}"


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
