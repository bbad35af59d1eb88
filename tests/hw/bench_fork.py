"""Bench for `hw.lib.fork`."""

import random

import cocotb
from cocotb.triggers import ReadOnly, RisingEdge

from tests.support.bench import (
    STALLS,
    at_random,
    expects,
    measures,
    obeys_rules,
    params,
    sends,
    start,
    watchdog,
)

SEED = 1
WIDTH, COUNT = params()["width"], params()["count"]
OUTPUTS = [f"o__{number}" for number in range(COUNT)]
RNG = random.Random(SEED)
PAYLOADS = [RNG.getrandbits(WIDTH) for _ in range(200)]


@cocotb.test()
@cocotb.parametrize(i_stall=list(STALLS), o_stall=list(STALLS))
async def every_stream_gets_all_payloads_in_order(dut, i_stall, o_stall):
    """The streams but the first stall each in its own way."""
    await start(dut)
    cocotb.start_soon(watchdog(dut, 10_000))
    cocotb.start_soon(sends(dut, "i", WIDTH, PAYLOADS, stall=STALLS[i_stall]))
    stalls = [STALLS[o_stall], *(lambda n=n: at_random(n) for n in range(1, COUNT))]
    takers = []
    for name, stall in zip(OUTPUTS, stalls, strict=True):
        cocotb.start_soon(obeys_rules(dut, name))
        takers.append(cocotb.start_soon(expects(dut, name, WIDTH, PAYLOADS, stall=stall)))
    for taker in takers:
        await taker


@cocotb.test()
async def payload_passes_in_the_cycle_in_which_it_comes(dut):
    await start(dut)
    cocotb.start_soon(watchdog(dut, 1000))
    cocotb.start_soon(sends(dut, "i", WIDTH, PAYLOADS))
    for name in OUTPUTS:
        getattr(dut, f"{name}__ready").value = 1
    assert await measures(dut, "i", OUTPUTS[-1], len(PAYLOADS)) == (0, len(PAYLOADS))


@cocotb.test()
async def payload_stays_until_the_last_has_taken_it(dut):
    """And is not offered again to those that have."""
    await start(dut)
    cocotb.start_soon(watchdog(dut, 1000))
    sender = cocotb.start_soon(sends(dut, "i", WIDTH, [7, 9]))
    for payload in (7, 9):
        for number, name in enumerate(OUTPUTS):
            await ReadOnly()
            offers = [int(getattr(dut, f"{output}__valid").value) for output in OUTPUTS]
            assert offers == [0] * number + [1] * (COUNT - number)
            assert int(getattr(dut, f"{name}__payload").value) == payload
            assert not int(dut.i__ready.value)
            await RisingEdge(dut.clk)
            getattr(dut, f"{name}__ready").value = 1
            await ReadOnly()
            assert int(dut.i__ready.value) == (number == COUNT - 1)
            await RisingEdge(dut.clk)
            getattr(dut, f"{name}__ready").value = 0
    await sender
