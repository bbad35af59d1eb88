"""Benches for `test_memory_controller` of regions that lie anywhere."""

import random

import cocotb
from cocotb.triggers import ClockCycles
from cocotbext.axi import AxiResp

from hw.memory_controller import REGIONS
from hw.spec.csr import ERRORS
from tests.hw.bench_memory_controller import (
    BEAT,
    LONG,
    PORT,
    SHORT,
    SIZE,
    WRITE,
    begin,
    command,
    errors_of,
    halts,
    until_idle,
)
from tests.support.bench import expects, pack, sends

SPACE = 1 << 32
PART = SIZE // 3  #: of the memory, for a region
CLIENTS = {
    "stream": (LONG, ("image", "kv", "host")),
    "fetch": (SHORT, ("image", "kv", "host")),
    "write": (SHORT, ("kv", "host")),
}


class Place:
    """Where the chip sees the memory, where the bus has it, and three regions in it.

    Regions may begin and end at any byte, and something is left free around each.
    """

    def __init__(self, rng, seen, bus):
        self.rng, self.seen, self.bus = rng, seen, bus
        starts = rng.sample(range(3), 3)
        self.map = {
            name: {
                "base": seen + PART * start + rng.randrange(2 * PORT, 8192),
                "limit": seen + PART * (start + 1) - rng.randrange(2 * PORT, 8192),
            }
            for (name, _), start in zip(REGIONS, starts, strict=True)
        }

    def inside(self, name, beats):
        """Return a command in a region, often at an end of it."""
        first = -(-self.map[name]["base"] // PORT) * PORT
        last = self.map[name]["limit"] // PORT * PORT - beats * PORT
        middle = self.rng.randrange(first, last + 1) & -PORT
        return command(self.rng.choice((first, last, max(first, middle))), beats)

    def across(self, name):
        """Return a command whose first or last byte is the nearest outside a region."""
        base, limit = self.map[name]["base"], self.map[name]["limit"]
        beats = self.rng.randrange(1, 4)
        after = limit // PORT * PORT - (beats - 1) * PORT
        return command(self.rng.choice(((base - 1) & -PORT, after)), beats)

    def on_bus(self, addr):
        return addr - self.seen + self.bus

    def beats(self, content, commands):
        """Return what memory holds where commands point."""
        starts = [c["addr"] - self.seen + i * PORT for c in commands for i in range(c["beats"])]
        return [list(content[start : start + PORT]) for start in starts]


async def writes(dut, memory, place, rng):
    """Write in both regions that may be written, and check that only this has changed."""
    commands = [place.inside(name, rng.randrange(1, 9)) for name in CLIENTS["write"][1]]
    expected, beats = bytearray(memory.content), []
    for ask in commands:
        for number in range(ask["beats"]):
            raw = rng.randbytes(PORT)
            start = ask["addr"] - place.seen + number * PORT
            expected[start : start + PORT] = raw
            beats.append({"data": list(raw), "strobe": (1 << PORT) - 1})
    cocotb.start_soon(sends(dut, "i_wdata", WRITE, beats))
    await sends(dut, "i_write", SHORT, commands)
    await until_idle(dut)
    assert memory.content == expected


async def reads(dut, memory, place, rng):
    """Let both readers read in all regions at a time."""
    tasks = []
    for client in ("stream", "fetch"):
        layout, names = CLIENTS[client]
        commands = [place.inside(name, rng.randrange(1, 9)) for name in names]
        wanted = place.beats(memory.content, commands)
        tasks += [
            cocotb.start_soon(sends(dut, f"i_{client}", layout, commands)),
            cocotb.start_soon(expects(dut, f"o_{client}", BEAT, wanted)),
        ]
    for task in tasks:
        await task
    await until_idle(dut)


async def fails(dut, memory, place, rng, client):
    """Let memory answer a client's command with an error: it is reported with its address."""
    layout, names = CLIENTS[client]
    ask = place.inside(rng.choice(names), 1)
    memory.errors = {place.on_bus(ask["addr"]): AxiResp.SLVERR}
    await sends(dut, f"i_{client}", layout, [ask])
    if client == "write":
        here = place.beats(memory.content, [ask])[0]
        await sends(dut, "i_wdata", WRITE, [{"data": here, "strobe": 1}])
    else:
        await expects(dut, f"o_{client}", BEAT, place.beats(memory.content, [ask]))
    await until_idle(dut)
    await ClockCycles(dut.clk, 2)
    memory.errors = {}
    return ERRORS["axi_slverr"], ask["addr"]


async def is_refused(dut, memory, place, rng, client):
    """Let a client leave a region: nothing comes of it but an error."""
    layout, names = CLIENTS[client]
    ask = place.across(rng.choice(names))
    bursts = len(memory.reads), len(memory.writes)
    await sends(dut, f"i_{client}", layout, [ask])
    await ClockCycles(dut.clk, 20)
    assert (len(memory.reads), len(memory.writes)) == bursts
    await halts(dut, 1)
    await until_idle(dut)
    return ERRORS["bad_address"], ask["addr"]


@cocotb.test()
@cocotb.parametrize(seed=range(2))
async def regions_may_lie_anywhere_and_so_may_the_memory_on_the_bus(dut, seed):
    """Every second time all bits of where both lie are the other way round."""
    print(f"seed {seed}")
    rng = random.Random(seed)
    memory = await begin(dut, cycles=80_000, latency=2)
    errors, wanted = [], []
    cocotb.start_soon(errors_of(dut, errors))
    for number in range(16):
        if number % 2 == 0:
            seen, bus = (rng.randrange(0, SPACE - SIZE) & -4096 for _ in range(2))
        else:
            seen, bus = SPACE - SIZE - seen, SPACE - SIZE - bus
        place = Place(rng, seen, bus)
        dut.regions.value = pack(REGIONS, place.map)
        dut.bus_offset.value = (bus - seen) % SPACE
        memory.base = bus
        await writes(dut, memory, place, rng)
        await reads(dut, memory, place, rng)
        assert errors == wanted
        for client in CLIENTS:
            wanted.append(await fails(dut, memory, place, rng, client))
            wanted.append(await is_refused(dut, memory, place, rng, client))
            assert errors == wanted
