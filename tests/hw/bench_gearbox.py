"""Benches for `test_gearbox`."""

import random

import cocotb
from amaranth.hdl import unsigned
from amaranth.lib import data
from cocotb.triggers import ClockCycles, ReadOnly, RisingEdge

from hw.lib.gearbox import Gearbox
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
I_BYTES, O_BYTES = params()["i_bytes"], params()["o_bytes"]
I_WORD = data.ArrayLayout(unsigned(8), I_BYTES)
O_WORD = data.ArrayLayout(unsigned(8), O_BYTES)
WIDEST = max(I_BYTES, O_BYTES)


def words(text, size):
    return [list(text[i : i + size]) for i in range(0, len(text), size)]


def text_of(count, seed=SEED):
    return random.Random(seed).randbytes(count * WIDEST)


@cocotb.test()
@cocotb.parametrize(i_stall=list(STALLS), o_stall=list(STALLS))
async def bytes_come_out_in_order(dut, i_stall, o_stall):
    await start(dut)
    cocotb.start_soon(watchdog(dut, 10000))
    cocotb.start_soon(obeys_rules(dut, "o"))
    text = text_of(60)
    cocotb.start_soon(sends(dut, "i", I_WORD, words(text, I_BYTES), stall=STALLS[i_stall]))
    await expects(dut, "o", O_WORD, words(text, O_BYTES), stall=STALLS[o_stall])


@cocotb.test()
async def narrower_side_never_idles(dut):
    await start(dut)
    cocotb.start_soon(watchdog(dut, 1000))
    text = text_of(20)
    cocotb.start_soon(sends(dut, "i", I_WORD, words(text, I_BYTES)))
    dut.o__ready.value = 1
    ratio = max(1, O_BYTES // I_BYTES)
    count = len(text) // O_BYTES
    latency, cycles = await measures(dut, "i", "o", count)
    assert latency == ratio - 1 + Gearbox.LATENCY
    assert cycles == (count - 1) * ratio + 1


@cocotb.test()
async def flush_forgets_the_rest_of_a_word(dut):
    await start(dut)
    cocotb.start_soon(watchdog(dut, 5000))
    rng = random.Random(SEED)
    for turn in range(20):
        # Leave something inside, whatever the ratio.
        text = text_of(1, seed=turn)
        given = words(text, I_BYTES)
        if O_BYTES > I_BYTES:
            given = given[: rng.randrange(1, len(given) + 1)]
        await sends(dut, "i", I_WORD, given)
        if O_BYTES < I_BYTES:
            taken = rng.randrange(I_BYTES // O_BYTES)
            await expects(dut, "o", O_WORD, words(text, O_BYTES)[:taken])
        await ClockCycles(dut.clk, rng.randrange(3))
        dut.flush.value = 1
        await RisingEdge(dut.clk)
        dut.flush.value = 0
        await ReadOnly()
        assert not int(dut.o__valid.value)
        await RisingEdge(dut.clk)
        text = text_of(2, seed=-turn)
        cocotb.start_soon(sends(dut, "i", I_WORD, words(text, I_BYTES)))
        await expects(dut, "o", O_WORD, words(text, O_BYTES))


@cocotb.test()
async def word_that_arrives_with_flush_is_the_first_of_what_follows(dut):
    await start(dut)
    cocotb.start_soon(watchdog(dut, 1000))
    await sends(dut, "i", I_WORD, words(text_of(1), I_BYTES)[:1])
    text = text_of(1, seed=9)
    dut.flush.value = 1
    await sends(dut, "i", I_WORD, words(text, I_BYTES)[:1])
    dut.flush.value = 0
    cocotb.start_soon(sends(dut, "i", I_WORD, words(text, I_BYTES)[1:]))
    await expects(dut, "o", O_WORD, words(text, O_BYTES))
