"""Drives matrix jobs through the matrix unit."""

import random

import cocotb
import numpy as np
from cocotb.triggers import ClockCycles, ReadOnly, RisingEdge, with_timeout

from hw.jobs import Dest
from hw.spec.config import ArchConfig
from hw.spec.formats import BLOCK_LEN
from sim.golden.model import Linear
from tests.hw.linear_jobs import expected_lanes, fill, job_of, random_linear, random_rows
from tests.hw.matrix_jobs import FILLED, MatrixJob, Surroundings, linear_results, stream_words
from tests.hw.matrix_unit import MatrixUnit
from tests.support.bench import (
    PERIOD_NS,
    STALLS,
    collects,
    cycle,
    obeys_rules,
    pack,
    params,
    sends,
    start,
    unpack,
    watchdog,
)

CONFIG = ArchConfig(**params()["config"])
UNIT = MatrixUnit(CONFIG)
JOB = UNIT.i_job.payload.shape()
WORD = UNIT.i_words.payload.shape()
RESULT = UNIT.o_act.payload.shape()


async def run_job(dut, rng, *, rows, outputs, inputs, bias, stall, job_stall="never"):
    """Run one linear job and compare; return the cycles in which the array was fed."""
    linear = random_linear(rng, outputs, inputs, bias)
    values, exponents = random_rows(rng, rows, inputs)
    await fill(dut, values, exponents)
    stream = stream_words(CONFIG, linear).tolist()
    words = cocotb.start_soon(sends(dut, "i_words", WORD, stream, stall=stall))
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


class Watch:
    """Checks in every cycle what the unit says of itself, and counts what happens."""

    COUNTED = ("feeding", "loading", "starved", "stalled")

    def __init__(self, dut):
        self.dut = dut
        self.inside = 0  # jobs
        self.counts = dict.fromkeys(self.COUNTED, 0)
        cocotb.start_soon(self._watches())

    async def _watches(self):
        dut = self.dut
        last = 1 << RESULT["meta"].offset + RESULT["meta"].shape["last"].offset
        was_taking = 0  # it is at rest when the watch begins
        while True:
            await ReadOnly()
            # The next job is taken when the words and the rows of one have been for a cycle.
            taking = int(dut.taking.value)
            assert int(dut.i_job__ready.value) == (not taking and not was_taking)
            was_taking = taking
            assert int(dut.busy.value) == (self.inside > 0), f"busy with {self.inside} jobs inside"
            for name in self.COUNTED:
                self.counts[name] += int(getattr(dut, name).value)
            self.inside += int(dut.i_job__valid.value) & int(dut.i_job__ready.value)
            if int(dut.o_act__valid.value) and int(dut.o_act__ready.value):
                self.inside -= bool(int(dut.o_act__payload.value) & last)
            await RisingEdge(dut.clk)


async def plays(dut, served):
    """Serve the read ports of `Surroundings.served`; what nothing was said of is anything."""
    rng = random.Random(9)
    ports = [
        (getattr(dut, data), words, [getattr(dut, name) for name in addr])
        for data, words, addr, _ in served
    ]
    enables = [None if enable is None else getattr(dut, enable) for *_, enable in served]
    before = [None] * len(ports)
    while True:
        await ReadOnly()
        asked = [
            tuple(int(line.value) for line in addr) if enable is None or int(enable.value) else last
            for (_, _, addr), enable, last in zip(ports, enables, before, strict=True)
        ]
        await RisingEdge(dut.clk)
        for (data, words, _), key, last in zip(ports, asked, before, strict=True):
            if key != last:
                word = words.get(key)
                data.value = rng.getrandbits(len(data)) if word is None else word
        before = asked


def seldom():
    """Idle now and then, for as long as some strips take."""
    rng = random.Random(2)
    while True:
        yield from [0] * rng.randrange(30, 100)
        yield 10 * BLOCK_LEN**2 // CONFIG.cols


async def run_jobs(dut, rng, dests, *, i_stall, o_stall, first=0, small=False):
    """Run jobs at random and check every beat; return the `Watch`."""
    await start(dut)
    cocotb.start_soon(watchdog(dut, 200_000))
    cocotb.start_soon(obeys_rules(dut, "o_act"))
    around = Surroundings(CONFIG, rng, first=first)
    await fill(dut, around.values, around.exponents, first=first)
    cocotb.start_soon(plays(dut, around.served))
    watch = Watch(dut)
    jobs = [MatrixJob.random(rng, dest, around, small=small) for dest in rng.permutation(dests)]
    words = [word for job in jobs for word in job.words]
    cocotb.start_soon(sends(dut, "i_words", WORD, words, stall=i_stall))
    cocotb.start_soon(sends(dut, "i_job", JOB, [job.fields for job in jobs]))
    wanted = [beat for job in jobs for beat in job.results]
    got = await collects(dut, "o_act", RESULT, len(wanted), stall=o_stall)
    for number, (beat, (label, lanes)) in enumerate(zip(got, wanted, strict=True)):
        check(number, beat, label, lanes)
    await ClockCycles(dut.clk, 2)
    assert watch.inside == 0
    assert watch.counts["feeding"] == sum(job.rows for job in jobs)
    assert watch.counts["loading"] == sum(job.weights for job in jobs)
    return watch


@cocotb.test
@cocotb.parametrize(stall=["at_random", "seldom"])
async def jobs_of_all_kinds_follow_each_other(dut, stall):
    """Data and label of every beat, while jobs overlap; with banks of sums that stay full."""
    rng = np.random.default_rng(7 + len(stall))
    stalls = {"i_stall": STALLS.get(stall, STALLS["never"]), "o_stall": STALLS.get(stall, seldom)}
    watch = await run_jobs(dut, rng, [*Dest], **stalls)
    assert watch.counts["starved"] > 0
    # In wider arrays jobs of this size have so few strips that both banks are seldom full.
    assert watch.counts["stalled"] > 0 or stall != "seldom" or CONFIG.cols > 4


@cocotb.test
async def small_jobs_differ_in_all_their_numbers(dut):
    """Sections have shifts of their own, and heads their places among scores and exponents."""
    rng = np.random.default_rng(11)
    dests = [Dest.QKV] * 10 + [Dest.VALUES] * 8 + [Dest.SCORES] * 4
    stalls = {"i_stall": STALLS["never"], "o_stall": STALLS["never"]}
    first = CONFIG.act_blocks - FILLED  # block 512 is among them
    await run_jobs(dut, rng, dests, **stalls, first=first, small=True)


def check(number, beat, label, lanes):
    assert beat["data"] == lanes, f"beat {number} is {beat['data']}, expected {lanes}"
    # What a destination has no use for says nothing.
    assert beat["meta"] | label == beat["meta"], f"beat {number} is {beat['meta']}, not {label}"


#: Sections and a reduction that take a second or so: as many strips, blocks and heads as that
#: allows.
LONG = {
    "strips": {"strips0": 1160, "strips1": 2, "strips2": 1, "head_blocks": 9, "blocks": 1},
    "blocks": {"strips0": 1, "strips1": 0, "strips2": 0, "head_blocks": 1, "blocks": 515},
}


def long_job(name):
    """Return a job of `LONG` and its operator, all words of which are the same."""
    rng = np.random.default_rng(5)
    word = rng.integers(1, 256, CONFIG.cols, dtype=np.uint8)
    strips = sum(LONG[name][f"strips{n}"] for n in range(3))
    job = LONG[name] | {"dest": Dest.QKV, "strips": strips, "heads": 1, "head_rows": 1}
    job |= dict.fromkeys(("row0", "src", "dst", "half"), 0)
    for n in range(3):
        job |= {f"shift1_{n}": 2 + n, f"shift2_{n}": 29 - n}
    channels = strips * BLOCK_LEN
    linear = Linear(
        weight=np.resize(word.view(np.int8), (job["blocks"] * BLOCK_LEN, channels)).T.copy(),
        multiplier=np.resize(word.view("<u2"), channels),
        shift1=2, shift2=29, out_width=32,
    )  # fmt: skip
    return job, linear


async def offers_without_end(dut, job, word):
    """Hand over a job; from then on a word is there in each cycle, and results are taken."""
    dut.i_words__payload.value = pack(WORD, word)
    dut.i_words__valid.value = 1
    dut.o_act__ready.value = 1
    await sends(dut, "i_job", JOB, [job])


@cocotb.test
@cocotb.parametrize(name=list(LONG))
async def long_jobs_count_to_their_end(dut, name):
    """Of many beats some are looked at: the clock runs by itself while there is none."""
    rng = np.random.default_rng(6)
    await start(dut)
    job, linear = long_job(name)
    words = stream_words(CONFIG, linear)
    assert (words == words[0]).all()
    values, exponents = random_rows(rng, 1, job["blocks"] * BLOCK_LEN)
    await fill(dut, values, exponents)
    await offers_without_end(dut, job, words[0].tolist())
    begun = cycle()
    wanted = list(linear_results(CONFIG, job, linear, values, exponents))
    limit = len(words) + 200  # cycles

    async def compares():
        for number, (label, lanes) in enumerate(wanted):
            await ReadOnly()
            while not int(dut.o_act__valid.value):
                await RisingEdge(dut.o_act__valid)
                await ReadOnly()
            if number % 5 == 0 or number == len(wanted) - 1:
                check(number, unpack(RESULT, int(dut.o_act__payload.value)), label, lanes)
            await RisingEdge(dut.clk)

    await with_timeout(compares(), limit * PERIOD_NS, "ns")
    assert cycle() - begun >= len(words)
    for _ in range(100):
        await ReadOnly()
        for line in ("taking", "busy", "loading", "i_words__ready", "o_act__valid"):
            assert not int(getattr(dut, line).value), line
        await RisingEdge(dut.clk)


#: Bits of the numbers of strips and blocks.
BITS = [("strips", bit) for bit in range(1, 16)] + [("blocks", bit) for bit in range(1, 12)]


@cocotb.test
async def no_job_ends_early_whatever_bit_makes_it_long(dut):
    """Each is left in its middle, by a reset, after which nothing is left of it."""
    rng = np.random.default_rng(8)
    short, linear = long_job("strips")
    word = stream_words(CONFIG, linear)[0].tolist()
    strip_words = BLOCK_LEN * (BLOCK_LEN + 2) // CONFIG.cols
    await start(dut)
    for field, bit in BITS:
        job = short | {"strips": 1, "blocks": 1} | {field: 1 + (1 << bit)}
        await offers_without_end(dut, job, word)
        await ClockCycles(dut.clk, int(1.5 * strip_words) + int(rng.integers(strip_words // 3)))
        loaded = 0
        for _ in range(BLOCK_LEN):
            await ReadOnly()
            assert int(dut.taking.value)
            loaded += int(dut.loading.value)
            await RisingEdge(dut.clk)
        assert loaded, f"no words are taken any more, of 1 + 2**{bit} {field}"
        dut.i_words__valid.value = 0
        dut.rst.value = 1
        await RisingEdge(dut.clk)
        dut.rst.value = 0
        await RisingEdge(dut.clk)
        assert not int(dut.busy.value)
    dut.o_act__ready.value = 0
    await run_job(dut, rng, rows=2, outputs=64, inputs=32, bias=True, stall=STALLS["never"])


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
