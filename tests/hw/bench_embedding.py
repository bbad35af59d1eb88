"""Bench for `hw.embedding`."""

import cocotb
import numpy as np
from amaranth.hdl import unsigned

from hw.embedding import Embedding
from hw.lib.credit_queue import CreditQueue
from sim.golden.embedding import embed
from tests.hw.vector_stream import Unit, numbers, seeded
from tests.support.bench import STALLS, params

LANES = params()["lanes"]
UNIT = Unit(Embedding(lanes=LANES, meta_shape=unsigned(9)), "i_row", "o_row")


def beats(count):
    rng = seeded()
    payloads, results = [], []
    for number in range(count):
        vector = numbers(rng, 8, LANES)
        multiplier = rng.choice((0, 1, 65535, 32768, rng.randrange(65536)))
        shift = rng.choice((0, 1, rng.randrange(16), rng.randrange(26), 63))
        meta = number % 512
        payloads.append({"data": vector, "multiplier": multiplier, "shift": shift, "meta": meta})
        expected = embed(np.array([vector]), np.array([multiplier]), shift)[0]
        results.append({"data": expected.tolist(), "meta": meta})
    return payloads, results


@cocotb.test()
@cocotb.parametrize(i_stall=list(STALLS), o_stall=list(STALLS))
async def output_equals_golden(dut, i_stall, o_stall):
    await UNIT.compares(dut, *beats(200), i_stall=i_stall, o_stall=o_stall)


@cocotb.test()
async def as_many_get_in_as_find_room(dut):
    depth = CreditQueue(1, latency=Embedding.LATENCY - CreditQueue.LATENCY).depth
    await UNIT.fills(dut, *beats(4 * depth), depth=depth)


@cocotb.test()
async def latency_and_throughput_are_as_documented(dut):
    assert await UNIT.timing(dut, beats(50)[0]) == (Embedding.LATENCY, 50)
