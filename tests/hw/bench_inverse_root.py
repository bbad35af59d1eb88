"""Bench for `hw.inverse_root`."""

import cocotb
import numpy as np

from hw.inverse_root import ROOT_WIDTH, InverseRoot
from sim.golden.rmsnorm import ROOT_SCALE, reciprocal_root
from tests.hw.one_at_a_time import OneAtATime
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
    return with_roots([v for v in [*values, (1 << WIDTH) - 1] if v])


def with_roots(values):
    roots, halves = reciprocal_root(np.array(values))
    results = [
        {"root": int(root), "shift": 7 + int(half)}
        for root, half in zip(roots, halves, strict=True)
    ]
    return values, results


def close_totals():
    """Return the totals that decide a bit of their root by the least.

    A square of a root with one more bit, times the unit, misses 2**46 by little, either way.
    """
    rng = seeded()
    units = np.arange(1 << 14, 1 << 16, dtype=np.int64)
    roots, found = np.zeros_like(units), set()
    for bit in reversed(range(ROOT_WIDTH)):
        tried = roots | 1 << bit
        left = (1 << ROOT_SCALE) - tried * tried * units
        for side in (left >= 0, left < 0):
            near = units[side][np.argsort(np.abs(left[side]), kind="stable")]
            found.update(near[:4].tolist())
        roots = np.where(left >= 0, tried, roots)
    # What a total has below its unit does not count.
    shifts = [2 * rng.randrange((WIDTH - 16) // 2 + 1) for _ in found]
    return [
        (unit << shift) + rng.getrandbits(shift)
        for unit, shift in zip(sorted(found), shifts, strict=True)
    ]


@cocotb.test()
@cocotb.parametrize(i_stall=list(STALLS), o_stall=list(STALLS))
async def output_equals_golden(dut, i_stall, o_stall):
    await UNIT.compares(dut, *totals(100), i_stall=i_stall, o_stall=o_stall)


@cocotb.test()
async def latency_and_throughput_are_as_documented(dut):
    period = InverseRoot.LATENCY + 1
    assert await UNIT.timing(dut, [1, 2, 3, 4]) == (InverseRoot.LATENCY, 3 * period + 1)


@cocotb.test()
async def roots_are_exact_where_a_bit_is_decided_by_little(dut):
    await UNIT.compares(dut, *with_roots(close_totals()))


@cocotb.test()
async def results_wait_among_gaps_and_resets(dut):
    await OneAtATime(dut, UNIT, InverseRoot.LATENCY).run(*totals(30))
