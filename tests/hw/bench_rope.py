"""Bench for `hw.rope`."""

import cocotb
import numpy as np
from amaranth.hdl import unsigned

from hw.lib.credit_queue import CreditQueue
from hw.rope import Rope
from hw.spec.formats import HEAD_WIDTH, ROPE_WIDTH
from sim.golden.rope import rope
from tests.hw.vector_stream import Unit, numbers, seeded
from tests.support.bench import STALLS, params

LANES = params()["lanes"]
UNIT = Unit(Rope(lanes=LANES, meta_shape=unsigned(9)), "i_vec", "o_vec")
ONE = 1 << 14


def at_random(rng):
    vector = numbers(rng, HEAD_WIDTH, LANES)
    cos = numbers(rng, ROPE_WIDTH, LANES // 2, near=(ONE, -ONE))
    sin = numbers(rng, ROPE_WIDTH, LANES // 2, near=(ONE, -ONE))
    return vector, cos, sin


def at_ends(rng):
    """Return a beat of nothing but ends of ranges: the largest sums that there can be."""
    vector = rng.choices((-1 << (HEAD_WIDTH - 1), (1 << (HEAD_WIDTH - 1)) - 1), (3, 1), k=LANES)
    cos, sin = (
        rng.choices((-1 << (ROPE_WIDTH - 1), (1 << (ROPE_WIDTH - 1)) - 1), (3, 1), k=LANES // 2)
        for _ in range(2)
    )
    return vector, cos, sin


def at_limit(rng):
    """Return a beat whose results are the lowest number, or differ from it in one bit."""
    low = -1 << (HEAD_WIDTH - 1)
    vector = [low + rng.choice((0, 1 << rng.randrange(HEAD_WIDTH - 1))) for _ in range(LANES)]
    turned = rng.random() < 0.5
    parts = [ONE] * (LANES // 2), [0] * (LANES // 2)
    return vector, *(parts[::-1] if turned else parts)


def at_halves(rng):
    """Return a beat in which a sum of each pair is within one of where rounding changes it."""
    vector, cos, sin = at_random(rng)
    for pair in range(LANES // 2):
        vector[2 * pair : 2 * pair + 2] = (rng.randrange(-(1 << 15), 1 << 15) | 1 for _ in range(2))
        a, b = vector[2 * pair : 2 * pair + 2]
        sin[pair] = rng.randrange(-ONE, ONE)
        wanted = ONE // 2 + rng.randrange(-1, 1)
        # cos from a * cos - b * sin, or from a * sin + b * cos, modulo ONE.
        by, rest = rng.choice(((a, b * sin[pair]), (b, -a * sin[pair])))
        cos[pair] = (wanted + rest) * pow(by, -1, ONE) % ONE
    return vector, cos, sin


def beats(count, kind=at_random):
    rng = seeded()
    payloads, results = [], []
    for number in range(count):
        vector, cos, sin = kind(rng)
        enable, meta = int(kind is not at_random or rng.random() < 0.8), number % 512
        payloads.append({"data": vector, "cos": cos, "sin": sin, "enable": enable, "meta": meta})
        table = np.stack((cos, sin), axis=-1)[None]
        rotated = rope(np.array(vector, dtype=np.int64)[None, None], table)[0, 0].tolist()
        results.append({"data": rotated if enable else vector, "meta": meta})
    return payloads, results


@cocotb.test()
@cocotb.parametrize(i_stall=list(STALLS), o_stall=list(STALLS))
async def output_equals_golden(dut, i_stall, o_stall):
    await UNIT.compares(dut, *beats(200), i_stall=i_stall, o_stall=o_stall)


@cocotb.test()
async def largest_sums_saturate(dut):
    await UNIT.compares(dut, *beats(60, at_ends))


@cocotb.test()
async def only_the_lowest_number_saturates(dut):
    await UNIT.compares(dut, *beats(100, at_limit))


@cocotb.test()
async def halves_round_up_and_no_less_does(dut):
    await UNIT.compares(dut, *beats(60, at_halves))


@cocotb.test()
async def as_many_get_in_as_find_room(dut):
    depth = CreditQueue(1, latency=Rope.LATENCY - CreditQueue.LATENCY).depth
    await UNIT.fills(dut, *beats(4 * depth), depth=depth)


@cocotb.test()
async def latency_and_throughput_are_as_documented(dut):
    assert await UNIT.timing(dut, beats(50)[0]) == (Rope.LATENCY, 50)
