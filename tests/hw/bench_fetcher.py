"""Bench for `hw.fetcher`."""

import random

import cocotb
from cocotb.triggers import ReadOnly, RisingEdge

from hw.fetcher import Fetcher
from hw.lib.slice import Slice
from tests.support.bench import (
    STALLS,
    collects,
    cycle,
    expects,
    measures,
    obeys_rules,
    params,
    sends,
    start,
    watchdog,
)

PORT = params()["port_bytes"]
DUT = Fetcher(port_bytes=PORT)
REQUEST = DUT.i_data.payload.shape()
COMMAND = DUT.o_fetch.payload.shape()
BEAT = DUT.i_beat.payload.shape()
MOST = 255


def byte_at(addr):
    """Return what the memory holds at an address."""
    return addr * 0x9E3779B1 >> 13 & 0xFF


def words_at(request):
    first = request["addr"]
    return [
        int.from_bytes(bytes(byte_at(addr + n) for n in range(4)), "little")
        for addr in range(first, first + 4 * request["words"], 4)
    ]


def requests(rng, count):
    """Return requests that begin and end anywhere in a beat, of 1 and 255 words among others."""
    made = [{"addr": 4 * rng.getrandbits(29), "words": words} for words in (1, MOST, 1, 2)]
    made += [
        {"addr": 4 * rng.getrandbits(29), "words": rng.choice((1, 2, 16, rng.randrange(1, 40)))}
        for _ in range(count)
    ]
    made.append({"addr": (1 << 32) - 4, "words": 1})
    return [made[n] for n in rng.sample(range(len(made)), len(made))]


async def memory(dut, commands, stall="never"):
    """Answer commands, and record them."""
    idle = STALLS[stall]()
    while True:
        commands += await collects(dut, "o_fetch", COMMAND, 1, stall=lambda: idle)
        last = commands[-1]
        assert last["addr"] % PORT == 0
        places = range(last["addr"], last["addr"] + last["beats"] * PORT, PORT)
        beats = [[byte_at(place + n) for n in range(PORT)] for place in places]
        await sends(dut, "i_beat", BEAT, beats, stall=lambda: idle)


def least_beats(request):
    last = request["addr"] + 4 * request["words"] - 1
    return last // PORT - request["addr"] // PORT + 1


async def prepare(dut, cycles=40_000):
    await start(dut)
    cocotb.start_soon(watchdog(dut, cycles))
    for name in ("o_fetch", "o_program", "o_data"):
        cocotb.start_soon(obeys_rules(dut, name))


@cocotb.test()
@cocotb.parametrize(i_stall=list(STALLS), o_stall=list(STALLS))
async def each_client_gets_its_words(dut, i_stall, o_stall):
    rng = random.Random(51)
    await prepare(dut)
    commands, wanted, tasks = [], [], []
    cocotb.start_soon(memory(dut, commands, i_stall))
    for client in ("program", "data"):
        mine = requests(rng, 15)
        wanted += mine
        words = [word for request in mine for word in words_at(request)]
        stall = STALLS[o_stall]
        tasks.append(cocotb.start_soon(sends(dut, f"i_{client}", REQUEST, mine, stall=stall)))
        tasks.append(cocotb.start_soon(expects(dut, f"o_{client}", 32, words, stall=stall)))
    for task in tasks:
        await task
    # No beat is read that holds none of the words.
    places = sorted((r["addr"] // PORT * PORT, least_beats(r)) for r in wanted)
    assert sorted((c["addr"], c["beats"]) for c in commands) == places


@cocotb.test()
async def data_goes_first(dut):
    await prepare(dut)
    commands = []
    program, first, second = ({"addr": 0x100 * n, "words": 3} for n in (1, 2, 3))
    dut.o_program__ready.value = 1
    dut.o_data__ready.value = 1
    cocotb.start_soon(sends(dut, "i_program", REQUEST, [program]))
    cocotb.start_soon(sends(dut, "i_data", REQUEST, [first, second]))
    cocotb.start_soon(memory(dut, commands))
    while len(commands) < 3:
        await RisingEdge(dut.clk)
    assert [c["addr"] for c in commands] == [0x200, 0x300, 0x100]


@cocotb.test()
async def timing_is_as_documented(dut):
    """A command one cycle after its request, and a word a cycle from the beat's own on."""
    await prepare(dut)
    request = {"addr": 0x1004, "words": 64}
    commands, at = [], {}
    dut.o_data__ready.value = 1
    cocotb.start_soon(memory(dut, commands))
    cocotb.start_soon(sends(dut, "i_data", REQUEST, [request]))
    asks = cocotb.start_soon(measures(dut, "i_data", "o_fetch", 1))

    async def first_beat():
        while True:
            await ReadOnly()
            if dut.i_beat__valid.value:
                at["beat"] = cycle()
                return
            await RisingEdge(dut.clk)

    cocotb.start_soon(first_beat())
    latency, cycles = await measures(dut, "i_data", "o_data", 64)
    assert await asks == (1, 1)
    assert cycles == 64
    assert cycle() - 63 == at["beat"] + 2 * Slice.LATENCY
