"""Bench for `hw.lib.credit_queue`."""

import random

import cocotb
from cocotb.triggers import ReadOnly, RisingEdge

from hw.lib.credit_queue import CreditQueue
from tests.support.bench import (
    STALLS,
    expects,
    measures,
    obeys_rules,
    params,
    sends,
    start,
    watchdog,
)

SEED = 1
WIDTH, STAGES, DEPTH = params()["width"], params()["stages"], params()["depth"]
RNG = random.Random(SEED)
PAYLOADS = [RNG.getrandbits(WIDTH) for _ in range(200)]


@cocotb.test()
@cocotb.parametrize(i_stall=list(STALLS), o_stall=list(STALLS))
async def nothing_is_lost(dut, i_stall, o_stall):
    await start(dut)
    cocotb.start_soon(watchdog(dut, 5000))
    cocotb.start_soon(obeys_rules(dut, "o"))
    cocotb.start_soon(sends(dut, "i", WIDTH, PAYLOADS, stall=STALLS[i_stall]))
    await expects(dut, "o", WIDTH, PAYLOADS, stall=STALLS[o_stall])


@cocotb.test()
async def latency_is_as_documented_and_throughput_one(dut):
    await start(dut)
    cocotb.start_soon(watchdog(dut, 1000))
    cocotb.start_soon(sends(dut, "i", WIDTH, PAYLOADS))
    dut.o__ready.value = 1
    assert await measures(dut, "i", "o", len(PAYLOADS)) == (
        STAGES + CreditQueue.LATENCY,
        len(PAYLOADS),
    )


@cocotb.test()
async def as_many_get_in_as_find_room(dut):
    await start(dut)
    cocotb.start_soon(watchdog(dut, 1000))
    dut.i__valid.value = 1
    taken = 0
    for number in range(DEPTH + STAGES + 5):
        dut.i__payload.value = number % (1 << WIDTH)
        await ReadOnly()
        taken += int(dut.i__ready.value)
        await RisingEdge(dut.clk)
    assert taken == DEPTH
    dut.i__valid.value = 0
    await expects(dut, "o", WIDTH, [number % (1 << WIDTH) for number in range(DEPTH)])
