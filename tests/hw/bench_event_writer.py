"""Bench for `hw.event_writer`."""

import random

import cocotb
from cocotb.triggers import ReadOnly, RisingEdge

from hw.event_writer import EventWriter, event_layout
from hw.spec.requests import EVENT_BYTES, EVENT_KINDS, decode_event
from tests.support.bench import (
    STALLS,
    collects,
    measures,
    obeys_rules,
    params,
    sends,
    start,
    watchdog,
)

PORT = params()["port_bytes"]
DUT = EventWriter(port_bytes=PORT)
COMMAND = DUT.o_write.payload.shape()
BEAT = DUT.o_wdata.payload.shape()
BEATS = max(1, EVENT_BYTES // PORT)


def some_event(rng):
    """Return an event whose fields are at their ends or random."""
    event = {
        name: rng.choice((0, (1 << field.width) - 1, rng.getrandbits(field.width)))
        for name, field in event_layout()
    }
    return event | {"kind": rng.choice(list(EVENT_KINDS.values()))}


async def counts(dut, cycles):
    while True:
        dut.cycles.value = cycles
        cycles = (cycles + 1) % (1 << 64)
        await RisingEdge(dut.clk)


async def writes(dut, memory, addr, event, stall):
    """Let the unit write an event into a dict of bytes; return its cycle."""
    dut.addr.value = addr
    commands = cocotb.start_soon(collects(dut, "o_write", COMMAND, 1, stall=stall))
    beats = cocotb.start_soon(collects(dut, "o_wdata", BEAT, BEATS, stall=stall))
    before = int(dut.cycles.value)
    await sends(dut, "i_event", event_layout(), [event])
    dut.addr.value = 0
    (command,) = await commands
    assert command["addr"] % PORT == 0
    assert command["beats"] == BEATS
    for number, beat in enumerate(await beats):
        for lane in range(PORT):
            if beat["strobe"] >> lane & 1:
                memory[command["addr"] + number * PORT + lane] = beat["data"][lane]
    return before


@cocotb.test()
@cocotb.parametrize(stall=list(STALLS))
async def an_event_is_written_and_nothing_else(dut, stall):
    rng = random.Random(41)
    await start(dut)
    cocotb.start_soon(watchdog(dut, 20_000))
    cocotb.start_soon(obeys_rules(dut, "o_write"))
    cocotb.start_soon(obeys_rules(dut, "o_wdata"))
    idle = STALLS[stall]()
    for number in range(60):
        event = some_event(rng)
        # The counter's halves are of one moment.
        counter = cocotb.start_soon(counts(dut, rng.getrandbits(31) << 32 | 0xFFFF_FFF8))
        await RisingEdge(dut.clk)
        addr = EVENT_BYTES * rng.choice((0, number, (1 << 27) - 1, rng.getrandbits(27)))
        memory = {}
        before = await writes(dut, memory, addr, event, lambda: idle)
        counter.cancel()
        assert sorted(memory) == list(range(addr, addr + EVENT_BYTES))
        got = decode_event(bytes(memory[addr + n] for n in range(EVENT_BYTES)))
        names = {code: name for name, code in EVENT_KINDS.items()}
        for name, value in (event | {"kind": names[event["kind"]]}).items():
            assert getattr(got, name) == value, f"event {number}: {name}"
        assert got.cycle in (before, before + 1)


@cocotb.test()
async def timing_is_as_documented(dut):
    await start(dut)
    cocotb.start_soon(watchdog(dut, 100))
    dut.o_write__ready.value = 1
    dut.o_wdata__ready.value = 1
    first = cocotb.start_soon(measures(dut, "i_event", "o_write", 1))
    beats = cocotb.start_soon(measures(dut, "o_write", "o_wdata", BEATS))
    await sends(dut, "i_event", event_layout(), [some_event(random.Random(1))])
    assert await first == (1, 1)
    assert await beats == (1, BEATS)
    await RisingEdge(dut.clk)
    await ReadOnly()
    assert not dut.busy.value


@cocotb.test()
async def nothing_is_written_without_an_event(dut):
    await start(dut)
    for _ in range(10):
        await ReadOnly()
        assert not dut.busy.value
        assert not dut.o_write__valid.value
        assert not dut.o_wdata__valid.value
        await RisingEdge(dut.clk)
