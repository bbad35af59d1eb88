"""Bench for `hw.ring_writer`."""

import random

import cocotb
from cocotb.triggers import ReadOnly, RisingEdge

from hw.ring_writer import RingWriter
from hw.spec.csr import RING_ENTRY_BYTES
from tests.support.bench import STALLS, collects, measures, obeys_rules, params, start, watchdog

PORT = params()["port_bytes"]
DUT = RingWriter(port_bytes=PORT)
COMMAND = DUT.o_write.payload.shape()
BEAT = DUT.o_wdata.payload.shape()
BEATS = max(1, RING_ENTRY_BYTES // PORT)
ENDS = {"token": (0, (1 << 32) - 1), "pos": (0, (1 << 32) - 1), "cycles": (0, (1 << 64) - 1)}


async def begin(dut, addr, entry):
    """Start, and let the cycle counter run on."""
    dut.addr.value = addr
    for name, value in entry.items():
        getattr(dut, name).value = value
    dut.start.value = 1
    await ReadOnly()
    assert dut.busy.value
    await RisingEdge(dut.clk)
    dut.start.value = 0

    async def counts():
        cycles = entry["cycles"]
        while True:
            cycles = (cycles + 1) % (1 << 64)
            dut.cycles.value = cycles
            await RisingEdge(dut.clk)

    return cocotb.start_soon(counts())


async def writes(dut, memory, addr, entry, stall):
    """Let the unit write an entry into a dict of bytes."""
    counter = await begin(dut, addr, entry)
    commands = cocotb.start_soon(collects(dut, "o_write", COMMAND, 1, stall=stall))
    beats = await collects(dut, "o_wdata", BEAT, BEATS, stall=stall)
    (command,) = await commands
    assert command["addr"] % PORT == 0
    assert command["beats"] == BEATS
    for number, beat in enumerate(beats):
        for lane in range(PORT):
            if beat["strobe"] >> lane & 1:
                memory[command["addr"] + number * PORT + lane] = beat["data"][lane]
    await ReadOnly()
    assert not dut.busy.value
    await RisingEdge(dut.clk)
    counter.cancel()


def bytes_of(addr, entry):
    values = [(entry["token"], 4), (entry["pos"], 4), (entry["cycles"], 8)]
    data = b"".join(value.to_bytes(size, "little") for value, size in values)
    return {addr + n: byte for n, byte in enumerate(data)}


@cocotb.test()
@cocotb.parametrize(stall=list(STALLS))
async def entry_is_written_and_nothing_else(dut, stall):
    rng = random.Random(41)
    await start(dut)
    cocotb.start_soon(watchdog(dut, 20_000))
    cocotb.start_soon(obeys_rules(dut, "o_write"))
    cocotb.start_soon(obeys_rules(dut, "o_wdata"))
    idle = STALLS[stall]()
    for number in range(60):
        entry = {name: rng.choice((*ends, rng.randrange(ends[1]))) for name, ends in ENDS.items()}
        if number % 8 == 0:  # the counter's halves are of one moment
            entry["cycles"] = rng.getrandbits(31) << 32 | 0xFFFF_FFFF - rng.randrange(4)
        addr = RING_ENTRY_BYTES * rng.choice((0, number, (1 << 28) - 1, rng.getrandbits(28)))
        memory = {}
        await writes(dut, memory, addr, entry, lambda: idle)
        assert memory == bytes_of(addr, entry), f"entry {number}: {entry}"


@cocotb.test()
async def timing_is_as_documented(dut):
    await start(dut)
    cocotb.start_soon(watchdog(dut, 100))
    dut.o_write__ready.value = 1
    dut.o_wdata__ready.value = 1
    watching = cocotb.start_soon(measures(dut, "o_write", "o_wdata", BEATS))
    await begin(dut, 16, {"token": 1, "pos": 2, "cycles": 3})
    busy = 1
    while True:
        await ReadOnly()
        if not dut.busy.value:
            break
        busy += 1
        await RisingEdge(dut.clk)
    assert await watching == (1, BEATS)
    assert busy == 2 + BEATS


@cocotb.test()
async def nothing_is_written_without_start(dut):
    await start(dut)
    dut.token.value = 5
    for _ in range(10):
        await ReadOnly()
        assert not dut.busy.value
        assert not dut.o_write__valid.value
        assert not dut.o_wdata__valid.value
        await RisingEdge(dut.clk)
