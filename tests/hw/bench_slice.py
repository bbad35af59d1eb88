"""Benches for `test_slice`."""

import random

import cocotb
from cocotb.triggers import ReadOnly, RisingEdge

from hw.lib.slice import Slice
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
WIDTH = params()["width"]
RNG = random.Random(SEED)
PAYLOADS = [RNG.getrandbits(WIDTH) for _ in range(200)]


@cocotb.test()
@cocotb.parametrize(i_stall=list(STALLS), o_stall=list(STALLS))
async def order_is_kept(dut, i_stall, o_stall):
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
    assert await measures(dut, "i", "o", len(PAYLOADS)) == (Slice.LATENCY, len(PAYLOADS))


@cocotb.test()
async def i_ready_does_not_follow_o_ready_in_the_same_cycle(dut):
    await start(dut)
    await ReadOnly()
    assert int(dut.i__ready.value)
    await RisingEdge(dut.clk)
    await sends(dut, "i", WIDTH, [1, 2])
    for ready in (0, 1):
        dut.o__ready.value = ready
        await ReadOnly()
        assert not int(dut.i__ready.value)
        if not ready:
            await RisingEdge(dut.clk)


@cocotb.test()
@cocotb.parametrize(inside=[1, 2])
async def flush_forgets_what_is_inside_and_what_arrives(dut, inside):
    await start(dut)
    await sends(dut, "i", WIDTH, [1, 2][:inside])
    dut.flush.value, dut.i__valid.value, dut.i__payload.value = 1, 1, 1
    await RisingEdge(dut.clk)
    dut.flush.value, dut.i__valid.value = 0, 0
    await ReadOnly()
    assert not int(dut.o__valid.value)
    assert int(dut.i__ready.value)
    await RisingEdge(dut.clk)
    cocotb.start_soon(watchdog(dut, 1000))
    cocotb.start_soon(sends(dut, "i", WIDTH, PAYLOADS))
    await expects(dut, "o", WIDTH, PAYLOADS)
