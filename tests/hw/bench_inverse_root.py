"""Bench for `hw.inverse_root`."""

import cocotb
import numpy as np

from hw.inverse_root import InverseRoot
from sim.golden.rmsnorm import reciprocal_root
from tests.hw.vector_stream import Unit, seeded
from tests.support.bench import STALLS, params

WIDTH = params()["width"]
DUT = InverseRoot(width=WIDTH)
UNIT = Unit(DUT, "i_total", "o_root")


def totals(count):
    rng = seeded()
    # Around every power of two, where sv changes; squares, whose roots are exact.
    values = [v for k in range(WIDTH) for v in ((1 << k) - 1, 1 << k, (1 << k) + 1)]
    values += [rng.randrange(1 << (WIDTH // 2)) ** 2 for _ in range(count)]
    values += [rng.randrange(1 << WIDTH) >> rng.randrange(WIDTH) for _ in range(count)]
    values = [v for v in [*values, (1 << WIDTH) - 1] if v]
    roots, halves = reciprocal_root(np.array(values))
    results = [
        {"root": int(root), "shift": 7 + int(half)}
        for root, half in zip(roots, halves, strict=True)
    ]
    return values, results


@cocotb.test()
@cocotb.parametrize(i_stall=list(STALLS), o_stall=list(STALLS))
async def output_equals_golden(dut, i_stall, o_stall):
    await UNIT.compares(dut, *totals(100), i_stall=i_stall, o_stall=o_stall)


@cocotb.test()
async def latency_and_throughput_are_as_documented(dut):
    period = InverseRoot.LATENCY + 1
    assert await UNIT.timing(dut, [1, 2, 3, 4]) == (InverseRoot.LATENCY, 3 * period + 1)
