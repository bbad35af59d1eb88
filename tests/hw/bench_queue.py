"""Benches for `test_queue`."""

import random

import cocotb
from cocotb.triggers import ClockCycles, ReadOnly, RisingEdge

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
WIDTH, DEPTH, LATENCY = params()["width"], params()["depth"], params()["latency"]


def payloads(count):
    rng = random.Random(SEED)
    return [0, (1 << WIDTH) - 1, *(rng.getrandbits(WIDTH) for _ in range(count - 2))]


@cocotb.test()
@cocotb.parametrize(i_stall=list(STALLS), o_stall=list(STALLS))
async def order_is_kept(dut, i_stall, o_stall):
    await start(dut)
    cocotb.start_soon(watchdog(dut, 5000))
    cocotb.start_soon(obeys_rules(dut, "o"))
    sent = payloads(300)
    cocotb.start_soon(sends(dut, "i", WIDTH, sent, stall=STALLS[i_stall]))
    await expects(dut, "o", WIDTH, sent, stall=STALLS[o_stall])


@cocotb.test()
async def latency_is_as_documented_and_throughput_one(dut):
    await start(dut)
    cocotb.start_soon(watchdog(dut, 1000))
    cocotb.start_soon(sends(dut, "i", WIDTH, payloads(200)))
    dut.o__ready.value = 1
    assert await measures(dut, "i", "o", 200) == (LATENCY, 200)


@cocotb.test()
async def exactly_depth_payloads_fit_and_level_counts_them(dut):
    await start(dut)
    sent = payloads(DEPTH + 3)
    cocotb.start_soon(sends(dut, "i", WIDTH, sent))
    await ClockCycles(dut.clk, DEPTH + 10)
    await ReadOnly()
    assert int(dut.level.value) == DEPTH
    assert not int(dut.i__ready.value)
    await RisingEdge(dut.clk)
    await expects(dut, "o", WIDTH, sent)
    await ReadOnly()
    assert int(dut.level.value) == 0
    assert not int(dut.o__valid.value)


@cocotb.test()
async def flush_forgets_everything(dut):
    await start(dut)
    cocotb.start_soon(watchdog(dut, 1000))
    for count in range(DEPTH + 1):
        await sends(dut, "i", WIDTH, payloads(DEPTH + 2)[:count])
        await ClockCycles(dut.clk, count % 4)
        dut.flush.value = 1
        # What arrives meanwhile is forgotten too.
        dut.i__valid.value = 1
        await RisingEdge(dut.clk)
        dut.flush.value = 0
        dut.i__valid.value = 0
        await ReadOnly()
        assert int(dut.level.value) == 0
        assert not int(dut.o__valid.value)
        await RisingEdge(dut.clk)
        if count > 8:
            break
    sent = payloads(DEPTH)
    cocotb.start_soon(sends(dut, "i", WIDTH, sent))
    await expects(dut, "o", WIDTH, sent)
