"""Bench for `hw.head_norm`, with the norm at its side."""

import itertools
import random

import cocotb
from cocotb.triggers import FallingEdge, ReadOnly, RisingEdge

from hw.head_norm import HeadNorm
from hw.jobs import Dest
from hw.operator_word import operator_layout
from hw.spec.config import ArchConfig
from hw.spec.formats import BLOCK_LEN
from sim.golden.fixed import or_magnitude
from tests.hw.fused_results import KEY, QUERY, VALUE, cut, head_operator, projection
from tests.hw.vector_stream import Unit, seeded
from tests.hw.with_norm import WithNorm
from tests.support.bench import (
    STALLS,
    collects,
    expects,
    measures,
    obeys_rules,
    pack,
    params,
    sends,
    start,
    unpack,
    watchdog,
)

CONFIG = ArchConfig(**params()["config"])
LANES, BEATS, MAX_ROWS = CONFIG.lanes, CONFIG.beats, CONFIG.max_rows
MAX_BLOCKS = CONFIG.max_head_dim // BLOCK_LEN
DUT = WithNorm(HeadNorm(CONFIG), CONFIG, watched=True)
UNIT = Unit(DUT, "i_act", "o_act")
WORD = operator_layout("head_norm")
ENTRY = DUT.i_entry.payload.shape()
JOB = DUT.job.shape()
NORM = DUT.norm.norm


def jobs_of(payloads):
    """Return the jobs that the rows of q and k in a projection become, each with its ORM."""
    rows = {}
    for payload in payloads:
        meta = payload["meta"]
        if meta["section"] != VALUE:
            place = (meta["section"], meta["head"], meta["row"])
            rows.setdefault(place, []).extend(payload["data"])
    return [
        ({"row": row, "beats": len(x) // LANES, "is_key": int(section == KEY)}, or_magnitude(x))
        for (section, _, row), x in rows.items()
    ]


def labelled(rng, payloads, results):
    """Put noise into what `HeadNorm` has only to hand on: each head has its own."""
    drawn, other = {}, rng.getrandbits(8)
    for one in (*payloads, *results):
        meta = one["meta"]
        head = (meta["section"], meta["head"])
        if head not in drawn:
            drawn[head] = {
                "dest": rng.choice(list(Dest)),
                "half": rng.randrange(2),
                "head": meta["head"] ^ other,
                "strip_end": rng.randrange(2),
            }
        one["meta"] = meta | drawn[head]
    return payloads, results


async def watches_jobs(dut, jobs):
    """Check each job that the norm takes, and the ORM a cycle later."""
    while True:
        await ReadOnly()
        if int(dut.job_taken.value):
            expected, orm = jobs.pop(0)
            assert unpack(JOB, dut.job.value) == expected
            await RisingEdge(dut.clk)
            await ReadOnly()
            assert int(dut.orm.value) == orm
        await RisingEdge(dut.clk)


async def idles_with_noise(dut, rng):
    """Put anything on ``i_act`` while nothing is offered there."""
    width = len(dut.i_act__payload)
    while True:
        await FallingEdge(dut.clk)
        if not int(dut.i_act__valid.value):
            dut.i_act__payload.value = rng.getrandbits(width)


async def begin(dut, cycles=60_000):
    """Return the jobs that are to come, which `project` adds to."""
    await start(dut)
    jobs = []
    cocotb.start_soon(watchdog(dut, cycles))
    cocotb.start_soon(obeys_rules(dut, "o_act"))
    cocotb.start_soon(watches_jobs(dut, jobs))
    return jobs


async def load(dut, word, gains):
    """Run a head_norm operator."""
    dut.word.value = pack(WORD, word)
    dut.start.value = 1
    await RisingEdge(dut.clk)
    dut.start.value = 0
    await sends(dut, "i_entry", ENTRY, cut(gains[0] + gains[1], LANES))
    await RisingEdge(dut.clk)
    await ReadOnly()
    assert not int(dut.norm_busy.value)
    await RisingEdge(dut.clk)
    dut.word.value = 0


async def project(
    dut, jobs, word, payloads, results, *, normed=1, i_stall="never", o_stall="never"
):
    dut.enable.value = normed
    dut.head_blocks.value = word["head_blocks"]
    jobs += jobs_of(payloads) if normed else []
    sender = cocotb.start_soon(sends(dut, "i_act", UNIT.i_shape, payloads, stall=STALLS[i_stall]))
    await expects(dut, "o_act", UNIT.o_shape, results, stall=STALLS[o_stall])
    await sender
    assert not jobs


@cocotb.test()
@cocotb.parametrize(i_stall=list(STALLS), o_stall=list(STALLS))
async def heads_equal_golden(dut, i_stall, o_stall):
    rng = seeded()
    jobs = await begin(dut)
    cocotb.start_soon(idles_with_noise(dut, random.Random(0)))
    stalls = {"i_stall": i_stall, "o_stall": o_stall}
    for blocks, rows, heads in (
        (MAX_BLOCKS, MAX_ROWS, (2, 1)),
        (1, MAX_ROWS, (3, 2)),
        (1, 1, (3, 1)),
        (MAX_BLOCKS, 1, (3, 2)),
        (rng.randrange(1, MAX_BLOCKS + 1), rng.randrange(1, MAX_ROWS + 1), (1, 1)),
    ):
        word, gains = head_operator(rng, blocks)
        await load(dut, word, gains)
        dst = rng.randrange(1024 - 3 * MAX_BLOCKS)
        payloads, results = projection(
            rng, CONFIG, word, gains, rows=rows, heads=heads, dst=dst,
            first_strip=rng.randrange((1 << 16) - 3 * MAX_BLOCKS),
        )  # fmt: skip
        await project(dut, jobs, word, *labelled(rng, payloads, results), **stalls)


def one_of_every_size(sizes):
    """Return a `projection`'s way to draw rows: one element of the next size, the others 0 or -1.

    Nothing but this element decides by how many bits the row is shifted.
    """

    def draw(rng, width, count):
        row = [rng.choice((0, -1)) for _ in range(count)]
        size = next(sizes) % (width - 1)
        row[rng.randrange(count)] = rng.choice((1, -1)) * ((1 << size) + rng.getrandbits(size))
        return row

    return draw


@cocotb.test()
@cocotb.parametrize(blocks=[1, MAX_BLOCKS])
async def rows_are_shifted_by_their_largest_element(dut, blocks):
    rng = seeded()
    jobs = await begin(dut)
    word, gains = head_operator(rng, blocks)
    word |= {"shift_q": 15, "shift_k": 14, "epsilon_q": 0, "epsilon_k": 1}
    await load(dut, word, gains)
    draw = one_of_every_size(itertools.count())
    for _ in range(6):
        payloads, results = projection(
            rng, CONFIG, word, gains, rows=MAX_ROWS, heads=(3, 2), draw=draw
        )
        await project(dut, jobs, word, payloads, results)


@cocotb.test()
async def constants_stay_until_the_next_are_loaded(dut):
    rng = seeded()
    jobs = await begin(dut)
    word, gains = head_operator(rng, MAX_BLOCKS)
    await load(dut, word, gains)
    for normed in (1, 0, 1):
        payloads, results = projection(
            rng, CONFIG, word, gains, rows=2, heads=(2, 1), normed=bool(normed)
        )
        await project(dut, jobs, word, payloads, results, normed=normed)


@cocotb.test()
@cocotb.parametrize(section=[QUERY, VALUE])
async def what_is_not_normed_passes_in_the_next_cycle(dut, section):
    rng = seeded()
    await begin(dut)
    word, gains = head_operator(rng, MAX_BLOCKS)
    payloads, _ = projection(rng, CONFIG, word, gains, rows=3, heads=(1, 1))
    payloads = [payload for payload in payloads if payload["meta"]["section"] == section]
    dut.enable.value = int(section == VALUE)
    dut.head_blocks.value = MAX_BLOCKS
    dut.o_act__ready.value = 1
    cocotb.start_soon(sends(dut, "i_act", UNIT.i_shape, payloads))
    count = len(payloads)
    assert await measures(dut, "i_act", "o_act", count) == (HeadNorm.LATENCY, count)


@cocotb.test()
@cocotb.parametrize(blocks=[1, MAX_BLOCKS])
async def rows_take_as_long_as_documented(dut, blocks):
    """Whether the norm or the way out bounds them, rows come at the norm's pace."""
    rng = seeded()
    jobs = await begin(dut)
    word, gains = head_operator(rng, blocks)
    await load(dut, word, gains)
    payloads, results = projection(rng, CONFIG, word, gains, rows=MAX_ROWS, heads=(1, 1))
    jobs += jobs_of(payloads)
    dut.enable.value = 1
    dut.head_blocks.value = blocks
    cocotb.start_soon(sends(dut, "i_act", UNIT.i_shape, payloads))
    dut.o_act__ready.value = 1
    beats = blocks * BEATS
    latency, cycles = await measures(dut, "i_act", "o_act", MAX_ROWS * beats)
    strips_before = (blocks - 1) * MAX_ROWS * BEATS
    assert latency == HeadNorm.LATENCY + strips_before + BEATS + beats + NORM.first_cycles
    period = max(2 * beats, beats + NORM.search_cycles)
    assert cycles == (MAX_ROWS - 1) * period + beats


@cocotb.test()
async def the_next_head_waits_for_the_one_before(dut):
    """With the way out closed nothing of a second head is taken; what is inside is not lost."""
    rng = seeded()
    jobs = await begin(dut)
    word, gains = head_operator(rng, MAX_BLOCKS)
    await load(dut, word, gains)
    payloads, results = projection(rng, CONFIG, word, gains, rows=1, heads=(2, 1))
    jobs += jobs_of(payloads)
    dut.enable.value = 1
    dut.head_blocks.value = MAX_BLOCKS
    cocotb.start_soon(sends(dut, "i_act", UNIT.i_shape, payloads))
    taken = 0
    for _ in range(500):
        await ReadOnly()
        taken += int(dut.i_act__valid.value) and int(dut.i_act__ready.value)
        await RisingEdge(dut.clk)
    waiting = 2
    assert taken == MAX_BLOCKS * BEATS + waiting
    got = await collects(dut, "o_act", UNIT.o_shape, len(results))
    assert [one["data"] for one in got] == [one["data"] for one in results]
