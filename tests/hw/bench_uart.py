"""Bench for `hw.board.uart`."""

import random

import cocotb
from cocotb.triggers import ClockCycles, ReadOnly, RisingEdge, Timer

from tests.hw.serial_line import listens, talks
from tests.support.bench import (
    STALLS,
    cycle,
    never,
    obeys_rules,
    params,
    sends,
    start,
    watchdog,
)

BIT = params()["bit_cycles"]
BIT_NS = 10 * BIT
FLAGS = ("framing_error", "line_break", "overrun")
#: Rounding of edges to cycles takes its share of a short bit.
MISMATCHES = (-0.02, 0.0, 0.02) if BIT >= 16 else (0.0,)


async def begins(dut, *, ready=True):
    """Reset with an idle line; return (bytes taken, flags counted), which go on changing."""
    taken, flags = bytearray(), dict.fromkeys(FLAGS, 0)
    cocotb.start_soon(idles(dut))
    await start(dut)
    dut.o_byte__ready.value = int(ready)
    cocotb.start_soon(watchdog(dut, 700 * 10 * BIT))
    cocotb.start_soon(obeys_rules(dut, "o_byte"))
    cocotb.start_soon(takes(dut, taken, flags))
    await ClockCycles(dut.clk, 4 * BIT)
    return taken, flags


async def idles(dut):
    """Raise the line during the reset, which would otherwise be the start of a byte."""
    await RisingEdge(dut.clk)
    dut.rx.value = 1


async def takes(dut, taken, flags):
    while True:
        await ReadOnly()
        if int(dut.o_byte__valid.value) and int(dut.o_byte__ready.value):
            taken.append(int(dut.o_byte__payload.value))
        for name in FLAGS:
            flags[name] += int(getattr(dut, name).value)
        await RisingEdge(dut.clk)


def shuffled(seed):
    rng = random.Random(seed)
    data = bytearray(range(256))
    rng.shuffle(data)
    return bytes(data)


@cocotb.test()
@cocotb.parametrize(mismatch=MISMATCHES, stop_bits=[1, 1.6])
async def every_byte_is_received(dut, mismatch, stop_bits):
    taken, flags = await begins(dut)
    data = shuffled(5)
    await talks(dut.rx, data, BIT_NS * (1 + mismatch), stop_bits=stop_bits)
    await ClockCycles(dut.clk, BIT)
    assert taken == data
    assert not any(flags.values()), flags


@cocotb.test()
async def every_byte_is_sent_without_a_gap(dut):
    await begins(dut)
    heard = []
    data = shuffled(6)
    cocotb.start_soon(listens(dut.tx, BIT_NS, heard))
    cocotb.start_soon(sends(dut, "i_byte", 8, data))
    first = last = None
    for index in range(len(data)):
        while True:
            await ReadOnly()
            moved = int(dut.i_byte__valid.value) and int(dut.i_byte__ready.value)
            now = cycle()
            await RisingEdge(dut.clk)
            if moved:
                break
        first, last = (now if index == 0 else first), now
    assert last - first == 10 * BIT * (len(data) - 1)
    await ClockCycles(dut.clk, 11 * BIT)
    assert bytes(heard) == data
    assert int(dut.tx.value)


@cocotb.test()
@cocotb.parametrize(stall=[name for name in STALLS if name != "never"])
async def line_rests_high_between_bytes(dut, stall):
    await begins(dut)
    heard = []
    data = shuffled(7)[:40]
    cocotb.start_soon(listens(dut.tx, BIT_NS, heard))
    idle = STALLS[stall]()
    await sends(dut, "i_byte", 8, data, stall=lambda: (3 * BIT * n for n in idle))
    await ClockCycles(dut.clk, 11 * BIT)
    assert bytes(heard) == data


@cocotb.test()
async def short_noise_is_not_heard(dut):
    taken, flags = await begins(dut)
    rng = random.Random(8)
    data = shuffled(9)
    # One of the three samples at most. After that of a stop bit a start bit is looked for.
    width = max(1, BIT // 8) * 0.8 / BIT

    def glitch(_, bit):
        if rng.random() < 0.5 or (BIT < 16 and bit == 0):
            return None
        return rng.uniform(0.05, (0.5 if bit == 9 else 0.95) - width), width

    await talks(dut.rx, data, BIT_NS, glitch=glitch)
    for _ in range(50):  # and in silence
        dut.rx.value = 0
        await Timer(round(width * BIT_NS, 3), unit="ns", round_mode="round")
        dut.rx.value = 1
        await ClockCycles(dut.clk, rng.randrange(BIT, 3 * BIT))
    await talks(dut.rx, b"\x5a", BIT_NS)
    await ClockCycles(dut.clk, BIT)
    assert taken == data + b"\x5a"
    assert not any(flags.values()), flags


@cocotb.test()
async def missing_stop_bit_is_an_error(dut):
    taken, flags = await begins(dut)
    for byte in (0x55, 0x01, 0x80):
        # The ninth bit of data stands where the stop bit should.
        dut.rx.value = 0
        await Timer(BIT_NS, unit="ns")
        for bit in [byte >> i & 1 for i in range(8)] + [0]:
            dut.rx.value = bit
            await Timer(BIT_NS, unit="ns")
        dut.rx.value = 1
        await Timer(2 * BIT_NS, unit="ns")
        await talks(dut.rx, bytes([byte]), BIT_NS)
    await ClockCycles(dut.clk, BIT)
    assert taken == bytes([0x55, 0x01, 0x80])
    assert flags == {"framing_error": 3, "line_break": 0, "overrun": 0}


@cocotb.test()
async def break_is_one_error_however_long(dut):
    taken, flags = await begins(dut)
    for bits in (10, 11, 35):
        dut.rx.value = 0
        await Timer(bits * BIT_NS, unit="ns")
        dut.rx.value = 1
        await Timer(2 * BIT_NS, unit="ns")
    await talks(dut.rx, b"\xa5", BIT_NS)
    await ClockCycles(dut.clk, BIT)
    assert taken == b"\xa5"
    assert flags == {"framing_error": 3, "line_break": 3, "overrun": 0}


@cocotb.test()
async def byte_that_is_not_taken_stays_and_the_next_is_lost(dut):
    taken, flags = await begins(dut, ready=False)
    await talks(dut.rx, b"\x11\x22\x33", BIT_NS)
    await ClockCycles(dut.clk, BIT)
    dut.o_byte__ready.value = 1
    await talks(dut.rx, b"\x44", BIT_NS)
    await ClockCycles(dut.clk, BIT)
    assert taken == b"\x11\x44"
    assert flags == {"framing_error": 0, "line_break": 0, "overrun": 2}


@cocotb.test()
async def latency_is_as_documented(dut):
    await begins(dut)
    began = cycle()
    cocotb.start_soon(talks(dut.rx, b"\x00", BIT_NS))
    for _ in never():
        await ReadOnly()
        if int(dut.o_byte__valid.value):
            break
        await RisingEdge(dut.clk)
    # The stop bit's last sample, and the registers before and after it.
    last_sample = 9 * BIT + BIT // 2 + max(1, BIT // 8)
    assert last_sample <= cycle() - began <= last_sample + 5
