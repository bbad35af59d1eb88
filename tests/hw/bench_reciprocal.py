"""Bench for `hw.reciprocal`."""

import cocotb
import numpy as np
from amaranth.hdl import unsigned

from hw.reciprocal import Reciprocal
from sim.golden.attention import reciprocal
from tests.hw.one_at_a_time import OneAtATime
from tests.hw.vector_stream import Unit, seeded
from tests.support.bench import STALLS, params

WIDTH = params()["width"]
DUT = Reciprocal(width=WIDTH, meta_shape=unsigned(8))
UNIT = Unit(DUT, "i_sum", "o_reciprocal")
LEAST = 16383


def sums(count):
    rng = seeded()
    values = [v for k in range(14, WIDTH) for v in ((1 << k) - 1, 1 << k, (1 << k) + 1)]
    values += [max(LEAST, rng.randrange(1 << WIDTH) >> rng.randrange(WIDTH)) for _ in range(count)]
    values += [LEAST, (1 << WIDTH) - 1]
    payloads = [{"sum": value, "meta": i % 256} for i, value in enumerate(values)]
    results = zip(*reciprocal(np.array(values)), strict=True)
    names = ("reciprocal", "shift1", "shift2")
    return payloads, [
        {name: int(part) for name, part in zip(names, result, strict=True)} | {"meta": i % 256}
        for i, result in enumerate(results)
    ]


@cocotb.test()
@cocotb.parametrize(i_stall=list(STALLS), o_stall=list(STALLS))
async def output_equals_golden(dut, i_stall, o_stall):
    await UNIT.compares(dut, *sums(200), i_stall=i_stall, o_stall=o_stall)


@cocotb.test()
async def latency_and_throughput_are_as_documented(dut):
    period = Reciprocal.LATENCY + 1
    assert await UNIT.timing(dut, sums(0)[0][:4]) == (Reciprocal.LATENCY, 3 * period + 1)


@cocotb.test()
async def results_wait_among_gaps_and_resets(dut):
    await OneAtATime(dut, UNIT, Reciprocal.LATENCY).run(*sums(100))
