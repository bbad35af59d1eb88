"""Bench for `hw.random_threshold`."""

import cocotb
from cocotb.triggers import ReadOnly, RisingEdge

from hw.random_threshold import RandomThreshold
from sim.golden.sampler import random_number
from tests.hw.vector_stream import seeded
from tests.support.bench import (
    STALLS,
    cycle,
    expects,
    measures,
    obeys_rules,
    params,
    sends,
    start,
    watchdog,
)

WIDTH = params()["total_width"]
DUT = RandomThreshold(total_width=WIDTH)
KEY = DUT.i_key.payload.shape()
TOP = (1 << 32) - 1


def draws(rng, count):
    """Return keys, totals and thresholds: both ends of every range, and any."""
    keys, totals, thresholds = [], [], []
    for _ in range(count):
        seed, position = (rng.choice((0, 1, TOP, rng.getrandbits(32))) for _ in range(2))
        total = rng.choice((0, 1, (1 << WIDTH) - 1, rng.getrandbits(WIDTH)))
        keys.append({"seed": seed, "position": position})
        totals.append(total)
        thresholds.append(random_number(seed, position) * total >> 32)
    return keys, totals, thresholds


@cocotb.test()
@cocotb.parametrize(key_stall=list(STALLS), total_stall=list(STALLS), o_stall=list(STALLS))
async def thresholds_equal_golden(dut, key_stall, total_stall, o_stall):
    keys, totals, thresholds = draws(seeded(), 60)
    await start(dut)
    cocotb.start_soon(watchdog(dut, 60 * 60))
    cocotb.start_soon(obeys_rules(dut, "o_threshold"))
    cocotb.start_soon(sends(dut, "i_key", KEY, keys, stall=STALLS[key_stall]))
    cocotb.start_soon(sends(dut, "i_total", WIDTH, totals, stall=STALLS[total_stall]))
    await expects(dut, "o_threshold", WIDTH, thresholds, stall=STALLS[o_stall])


@cocotb.test()
async def a_threshold_takes_as_long_as_documented(dut):
    keys, totals, _ = draws(seeded(), 5)
    await start(dut)
    cocotb.start_soon(watchdog(dut, 1000))
    cocotb.start_soon(sends(dut, "i_key", KEY, keys))
    cocotb.start_soon(sends(dut, "i_total", WIDTH, totals))
    dut.o_threshold__ready.value = 1
    latency, cycles = await measures(dut, "i_total", "o_threshold", 5)
    assert latency == DUT.LATENCY
    assert cycles == 4 * (DUT.KEY_CYCLES + DUT.LATENCY + 1) + 1


@cocotb.test()
async def a_total_is_taken_as_soon_as_documented(dut):
    await start(dut)
    dut.i_key__valid.value = 1
    dut.i_total__valid.value = 1
    taken = {}
    while len(taken) < 2:
        await ReadOnly()
        for name in ("i_key", "i_total"):
            if int(getattr(dut, f"{name}__ready").value):
                taken.setdefault(name, cycle())
        await RisingEdge(dut.clk)
    assert taken["i_total"] - taken["i_key"] == DUT.KEY_CYCLES
