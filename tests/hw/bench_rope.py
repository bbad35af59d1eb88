"""Bench for `hw.rope`."""

import cocotb
import numpy as np
from amaranth.hdl import unsigned

from hw.rope import Rope
from hw.spec.formats import HEAD_WIDTH, ROPE_WIDTH
from sim.golden.rope import rope
from tests.hw.vector_stream import Unit, numbers, seeded
from tests.support.bench import STALLS, params

LANES = params()["lanes"]
UNIT = Unit(Rope(lanes=LANES, meta_shape=unsigned(9)), "i_vec", "o_vec")
ONE = 1 << 14


def beats(count):
    rng = seeded()
    payloads, results = [], []
    for number in range(count):
        vector = numbers(rng, HEAD_WIDTH, LANES)
        cos = numbers(rng, ROPE_WIDTH, LANES // 2, near=(ONE, -ONE))
        sin = numbers(rng, ROPE_WIDTH, LANES // 2, near=(ONE, -ONE))
        enable, meta = int(rng.random() < 0.8), number % 512
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
async def latency_and_throughput_are_as_documented(dut):
    assert await UNIT.timing(dut, beats(50)[0]) == (Rope.LATENCY, 50)
