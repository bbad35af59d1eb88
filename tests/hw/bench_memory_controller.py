"""Benches for `test_memory_controller`.

Longer than 400 lines: the three clients share one set-up, and are tested against each other.
"""

import random

import cocotb
from amaranth.hdl import unsigned
from amaranth.lib import data
from cocotb.triggers import ClockCycles, ReadOnly, RisingEdge
from cocotbext.axi import AxiResp

from hw.burst_cutter import command_layout
from hw.memory_controller import (
    FETCH_BEATS_WIDTH,
    REGIONS,
    STREAM_BEATS_WIDTH,
    MemoryController,
)
from hw.memory_writer import write_data_layout
from hw.spec.csr import ERRORS
from tests.hw.axi_memory import AxiMemory
from tests.support.bench import (
    STALLS,
    collects,
    cycle,
    expects,
    obeys_rules,
    pack,
    params,
    sends,
    start,
    watchdog,
)

SEED = 1
PORT, DEPTH, MAX_BURST = (params()[key] for key in ("port_bytes", "stream_depth", "max_burst"))
BEAT = data.ArrayLayout(unsigned(8), PORT)
WRITE = write_data_layout(PORT)
LONG, SHORT = command_layout(STREAM_BEATS_WIDTH), command_layout(FETCH_BEATS_WIDTH)
SIZE = 1 << 18
OFFSET = 0x4000_3000  #: a multiple of 4096
MAP = {
    "image": {"base": 0x1000, "limit": SIZE // 2},
    "kv": {"base": SIZE // 2, "limit": SIZE - 0x4000},
    "host": {"base": SIZE - 0x3000, "limit": SIZE},
}
IMAGE_BEATS = (MAP["image"]["limit"] - MAP["image"]["base"]) // PORT


async def begin(dut, cycles=60000, **options):
    await start(dut)
    dut.regions.value = pack(REGIONS, MAP)
    cocotb.start_soon(watchdog(dut, cycles))
    return AxiMemory(dut, size=SIZE, **options)


def command(addr, beats):
    return {"addr": addr, "beats": beats}


def beats_at(content, addr, count):
    return [list(content[addr + i * PORT : addr + (i + 1) * PORT]) for i in range(count)]


def answer(memory, commands):
    return [beat for c in commands for beat in beats_at(memory.content, c["addr"], c["beats"])]


def random_commands(rng, count, most, regions=("image", "kv", "host")):
    commands = []
    for _ in range(count):
        region = MAP[rng.choice(regions)]
        beats = min(rng.randrange(1, most + 1), (region["limit"] - region["base"]) // PORT)
        last = region["limit"] - beats * PORT
        # Often at an edge of a region or of a page.
        addr = rng.choice((
            region["base"],
            last,
            rng.randrange(region["base"], last + 1) & -PORT,
            min(last, (rng.randrange(region["base"], last + 1) | 4095) + 1 - PORT),
        ))
        commands.append(command(addr, beats))
    return commands


async def errors_of(dut, found):
    while True:
        await ReadOnly()
        if int(dut.error_valid.value):
            found.append((int(dut.error_cause.value), int(dut.error_addr.value)))
        await RisingEdge(dut.clk)


async def until_idle(dut):
    while True:
        await ReadOnly()
        idle = int(dut.idle.value)
        await RisingEdge(dut.clk)
        if idle:
            return


async def halts(dut, cycles):
    dut.halt.value = 1
    await ClockCycles(dut.clk, cycles)
    dut.halt.value = 0


@cocotb.test()
async def offset_is_added_on_the_bus_and_nowhere_else(dut):
    """Reads, writes and errors: the clients' addresses are those of the regions."""
    memory = await begin(dut, base=OFFSET, latency=3)
    dut.bus_offset.value = OFFSET
    rng = random.Random(SEED)
    for name, region, layout in (("stream", "image", LONG), ("fetch", "host", SHORT)):
        ask = command(MAP[region]["base"] + 4096, 5)
        wanted = beats_at(memory.content, ask["addr"], 5)
        cocotb.start_soon(sends(dut, f"i_{name}", layout, [ask]))
        await expects(dut, f"o_{name}", BEAT, wanted)
    addr = MAP["kv"]["base"] + 4096
    beats = [{"data": [rng.randrange(256) for _ in range(PORT)], "strobe": (1 << PORT) - 1}]
    cocotb.start_soon(sends(dut, "i_wdata", WRITE, beats))
    await sends(dut, "i_write", SHORT, [command(addr, 1)])
    await until_idle(dut)
    assert beats_at(memory.content, addr, 1) == [beats[0]["data"]]
    errors = []
    cocotb.start_soon(errors_of(dut, errors))
    memory.errors[OFFSET + addr] = AxiResp.SLVERR
    await sends(dut, "i_stream", LONG, [command(addr, 1)])
    await ClockCycles(dut.clk, 60)
    assert errors == [(ERRORS["axi_slverr"], addr)]


@cocotb.test()
@cocotb.parametrize(stall=list(STALLS), latency=[1, 40])
async def all_clients_get_and_write_what_they_ask_for(dut, stall, latency):
    memory = await begin(dut, latency=latency, stall=STALLS[stall])
    rng = random.Random(SEED)
    errors = []
    cocotb.start_soon(errors_of(dut, errors))
    for name in ("o_stream", "o_fetch"):
        cocotb.start_soon(obeys_rules(dut, name))
    long = random_commands(rng, 25, 100, ("image",))
    short = random_commands(rng, 25, 20, ("image",))
    places = random_commands(rng, 20, 30, ("kv", "host"))
    written = [
        {"data": list(rng.randbytes(PORT)), "strobe": rng.getrandbits(PORT)}
        for c in places
        for _ in range(c["beats"])
    ]
    expected = bytearray(memory.content)
    beats = iter(written)
    for place in places:
        for i in range(place["beats"]):
            beat = next(beats)
            for lane in range(PORT):
                if beat["strobe"] >> lane & 1:
                    expected[place["addr"] + i * PORT + lane] = beat["data"][lane]

    stalls = STALLS[stall]
    tasks = [
        cocotb.start_soon(sends(dut, "i_stream", LONG, long, stall=stalls)),
        cocotb.start_soon(sends(dut, "i_fetch", SHORT, short, stall=stalls)),
        cocotb.start_soon(sends(dut, "i_write", SHORT, places, stall=stalls)),
        cocotb.start_soon(sends(dut, "i_wdata", WRITE, written, stall=stalls)),
        cocotb.start_soon(expects(dut, "o_stream", BEAT, answer(memory, long), stall=stalls)),
        cocotb.start_soon(expects(dut, "o_fetch", BEAT, answer(memory, short), stall=stalls)),
    ]
    for task in tasks:
        await task
    await until_idle(dut)
    assert memory.content == expected
    assert not errors
    assert not int(dut.writes_pending.value)


@cocotb.test()
@cocotb.parametrize(latency=[1, 30, 200], beats=[0, 66])
async def stream_never_waits_for_itself(dut, latency, beats):
    if latency > DEPTH // 2:
        return  # documented: the FIFO must cover the latency
    total = 3000 if PORT < 64 else 1500
    memory = await begin(dut, latency=latency)
    if beats:
        # Short commands one after the other, at addresses that are no multiple of a burst.
        commands = [
            command(MAP["image"]["base"] + i * (beats + 1) * PORT, beats)
            for i in range(min(total, IMAGE_BEATS) // (beats + 1))
        ]
    else:
        commands = [command(MAP["image"]["base"] + 5 * PORT, min(total, IMAGE_BEATS - 5))]
    cocotb.start_soon(sends(dut, "i_stream", LONG, commands))
    expected = answer(memory, commands)
    await expects(dut, "o_stream", BEAT, expected[:1])
    first = cycle()
    await expects(dut, "o_stream", BEAT, expected[1:])
    rate = (len(expected) - 1) / (cycle() - first)
    dut._log.info(f"latency {latency}, commands of {beats or 'all'} beats: {rate:.4f} beats/cycle")
    assert rate >= 0.97


@cocotb.test()
async def writes_stream_a_beat_per_cycle(dut):
    memory = await begin(dut, latency=20)
    count, beats = 4, min(4096 // PORT, (1 << FETCH_BEATS_WIDTH) - 1)
    places = [command(MAP["kv"]["base"] + i * 4096, beats) for i in range(count)]
    rng = random.Random(SEED)
    written = [
        {"data": list(rng.randbytes(PORT)), "strobe": (1 << PORT) - 1} for _ in range(count * beats)
    ]
    cocotb.start_soon(sends(dut, "i_write", SHORT, places))
    await sends(dut, "i_wdata", WRITE, written[:1])
    first = cycle()
    await sends(dut, "i_wdata", WRITE, written[1:])
    assert (len(written) - 1) / (cycle() - first) >= 0.97
    await until_idle(dut)
    assert answer(memory, places) == [beat["data"] for beat in written]


@cocotb.test()
async def latency_is_as_documented(dut):
    await begin(dut)
    await sends(dut, "i_stream", LONG, [command(MAP["image"]["base"], 1)])
    # `sends` returns one cycle after the transfer.
    for waited in range(1, 20):
        await ReadOnly()
        if int(dut.axi__arvalid.value):
            assert waited == MemoryController.LATENCY
            return
        await RisingEdge(dut.clk)
    raise AssertionError("no arvalid")


@cocotb.test()
async def nothing_is_asked_for_without_room(dut):
    memory = await begin(dut, latency=3)
    commands = [command(MAP["image"]["base"], 4 * DEPTH)]
    cocotb.start_soon(sends(dut, "i_stream", LONG, commands))
    await ClockCycles(dut.clk, 4 * DEPTH + 100)
    assert sum(beats for _, _, beats in memory.reads) == DEPTH
    assert int(dut.stream_full.value)
    assert int(dut.axi__rready.value)
    # A fetch is not in its way.
    fetched = [command(MAP["host"]["base"], 2)]
    await sends(dut, "i_fetch", SHORT, fetched)
    await expects(dut, "o_fetch", BEAT, answer(memory, fetched))
    await expects(dut, "o_stream", BEAT, answer(memory, commands))
    await until_idle(dut)


@cocotb.test()
async def commands_of_no_beats_do_nothing(dut):
    memory = await begin(dut)
    for name, layout in (("i_stream", LONG), ("i_fetch", SHORT), ("i_write", SHORT)):
        await sends(dut, name, layout, [command(MAP["kv"]["base"], 0), command(3, 0)])
    await ClockCycles(dut.clk, 30)
    assert int(dut.idle.value)
    assert not memory.reads
    assert not memory.writes


BASE, LIMIT = MAP["image"]["base"], MAP["image"]["limit"]
GAP = MAP["kv"]["limit"]
REFUSED = {
    "before": ("i_stream", BASE - PORT, 1),
    "across_the_base": ("i_fetch", BASE - PORT, 2),
    "across_the_limit_into_another": ("i_stream", LIMIT - PORT, 2),
    "after": ("i_fetch", GAP, 1),
    "across_the_limit": ("i_stream", GAP - PORT, 2),
    "past_the_top": ("i_stream", (1 << 32) - PORT, 2),
    "around_the_top": ("i_stream", BASE, (1 << STREAM_BEATS_WIDTH) - 1),
    "around_the_top_by_fetch": ("i_fetch", (1 << 32) - PORT, 255),
    "write_to_the_image": ("i_write", LIMIT - PORT, 1),
    "write_across_the_limit": ("i_write", GAP - PORT, 2),
    "unaligned": ("i_stream", BASE + 1, 1),
    "unaligned_write": ("i_write", MAP["kv"]["base"] + PORT // 2, 1),
}


@cocotb.test()
@cocotb.parametrize(case=list(REFUSED))
async def command_outside_its_region_is_refused(dut, case):
    memory = await begin(dut)
    errors = []
    cocotb.start_soon(errors_of(dut, errors))
    name, addr, beats = REFUSED[case]
    layout = LONG if name == "i_stream" else SHORT
    # A good one behind it must wait: its data would be taken for the refused one's.
    await sends(dut, name, layout, [command(addr, beats), command(MAP["kv"]["base"], 1)])
    await ClockCycles(dut.clk, 40)
    assert errors == [(ERRORS["bad_address"], addr)]
    assert not memory.reads
    assert not memory.writes
    await halts(dut, 1)
    await until_idle(dut)

    good = [command(MAP["kv"]["base"], 3)]
    if name == "i_write":
        written = [{"data": [i] * PORT, "strobe": (1 << PORT) - 1} for i in range(3)]
        cocotb.start_soon(sends(dut, "i_wdata", WRITE, written))
        await sends(dut, "i_write", SHORT, good)
        await ReadOnly()
        assert int(dut.writes_pending.value)
        await RisingEdge(dut.clk)
        await until_idle(dut)
        assert answer(memory, good) == [beat["data"] for beat in written]
    else:
        cocotb.start_soon(sends(dut, name, layout, good))
        await expects(dut, name.replace("i_", "o_"), BEAT, answer(memory, good))
    assert len(errors) == 1


@cocotb.test()
@cocotb.parametrize(cause=["axi_slverr", "axi_decerr"], client=["stream", "fetch", "write"])
async def error_responses_are_reported_with_their_burst(dut, cause, client):
    resp = {"axi_slverr": AxiResp.SLVERR, "axi_decerr": AxiResp.DECERR}[cause]
    step = 4096
    bad = MAP["kv"]["base"] + 2 * step
    memory = await begin(dut, latency=10, errors={bad: resp})
    errors = []
    cocotb.start_soon(errors_of(dut, errors))
    commands = [command(MAP["kv"]["base"] + i * step, 3) for i in range(4)]
    if client == "write":
        beat = {"data": [7] * PORT, "strobe": (1 << PORT) - 1}
        cocotb.start_soon(sends(dut, "i_wdata", WRITE, [beat] * 12))
        await sends(dut, "i_write", SHORT, commands)
    else:
        layout = LONG if client == "stream" else SHORT
        cocotb.start_soon(sends(dut, f"i_{client}", layout, commands))
        await collects(dut, f"o_{client}", BEAT, 12)
    await until_idle(dut)
    await ClockCycles(dut.clk, 3)
    assert set(errors) == {(ERRORS[cause], bad)}
    bursts = len(memory.writes) if client == "write" else len(memory.reads)
    assert bursts >= len(commands)


@cocotb.test()
@cocotb.parametrize(seed=range(12 if PORT < 64 else 4), stall=["never", "at_random"])
async def halt_in_the_middle_leaves_a_clean_controller(dut, seed, stall):
    rng = random.Random(seed)
    memory = await begin(dut, latency=rng.choice((1, 20, 60)), stall=STALLS[stall], seed=seed)
    before = bytes(memory.content)
    errors = []
    cocotb.start_soon(errors_of(dut, errors))
    long = random_commands(rng, 30, 60)
    short = random_commands(rng, 30, 10)
    places = random_commands(rng, 30, 20, ("kv", "host"))
    beat = {"data": [0xA5] * PORT, "strobe": (1 << PORT) - 1}
    tasks = [
        cocotb.start_soon(sends(dut, "i_stream", LONG, long)),
        cocotb.start_soon(sends(dut, "i_fetch", SHORT, short)),
        cocotb.start_soon(sends(dut, "i_write", SHORT, places)),
        # Data runs out before halt does.
        cocotb.start_soon(sends(dut, "i_wdata", WRITE, [beat] * rng.randrange(1, 60))),
        cocotb.start_soon(collects(dut, "o_stream", BEAT, rng.randrange(1, 200))),
        cocotb.start_soon(collects(dut, "o_fetch", BEAT, rng.randrange(1, 50))),
    ]
    await ClockCycles(dut.clk, rng.randrange(10, 300))
    for task in tasks:
        task.cancel()
    for name in ("i_stream", "i_fetch", "i_write", "i_wdata"):
        getattr(dut, f"{name}__valid").value = 0
    for name in ("o_stream", "o_fetch"):
        getattr(dut, f"{name}__ready").value = 0
    # Data that comes with halt is never written.
    dut.i_wdata__payload.value = pack(WRITE, {"data": [0x77] * PORT, "strobe": (1 << PORT) - 1})
    dut.i_wdata__valid.value = rng.randrange(2)
    await halts(dut, rng.choice((1, 2, 400)))
    dut.i_wdata__valid.value = 0
    # Bytes are either as before or as some command wrote them.
    allowed = {0xA5}
    long = random_commands(rng, 8, 60, ("image",))
    short = random_commands(rng, 8, 10, ("image",))
    places = [command(MAP["host"]["base"] + i * 512, 2) for i in range(6)]
    fresh = {"data": [0x3C] * PORT, "strobe": (1 << PORT) - 1}
    tasks = [
        cocotb.start_soon(sends(dut, "i_stream", LONG, long)),
        cocotb.start_soon(sends(dut, "i_fetch", SHORT, short)),
        cocotb.start_soon(sends(dut, "i_write", SHORT, places)),
        cocotb.start_soon(sends(dut, "i_wdata", WRITE, [fresh] * 12)),
        cocotb.start_soon(expects(dut, "o_stream", BEAT, answer(memory, long))),
        cocotb.start_soon(expects(dut, "o_fetch", BEAT, answer(memory, short))),
    ]
    for task in tasks:
        await task
    await until_idle(dut)
    assert not errors
    assert answer(memory, places) == [fresh["data"]] * 12
    for place in places:
        allowed_place = range(place["addr"], place["addr"] + 2 * PORT)
        assert all(memory.content[i] == 0x3C for i in allowed_place)
    changed = [i for i in range(SIZE) if memory.content[i] != before[i]]
    assert all(memory.content[i] in allowed | {0x3C} for i in changed)
    assert all(i >= MAP["kv"]["base"] for i in changed)


@cocotb.test()
async def halted_controller_takes_and_drops_everything(dut):
    memory = await begin(dut)
    dut.halt.value = 1
    await RisingEdge(dut.clk)
    commands = [command(MAP["kv"]["base"], 5)] * 30
    beat = {"data": [1] * PORT, "strobe": 1}
    before = bytes(memory.content)
    await sends(dut, "i_stream", LONG, commands)
    await sends(dut, "i_fetch", SHORT, commands)
    await sends(dut, "i_write", SHORT, commands)
    await sends(dut, "i_wdata", WRITE, [beat] * 30)
    dut.halt.value = 0
    await ClockCycles(dut.clk, 30)
    assert int(dut.idle.value)
    assert not memory.reads
    assert not memory.writes
    assert memory.content == before


@cocotb.test()
async def counters_count_beats_of_the_port(dut):
    memory = await begin(dut, stall=STALLS["at_random"])
    counts = {"read_beat": 0, "write_beat": 0}

    async def count():
        while True:
            await ReadOnly()
            for name in counts:
                counts[name] += int(getattr(dut, name).value)
            await RisingEdge(dut.clk)

    cocotb.start_soon(count())
    commands = [command(MAP["kv"]["base"], 37), command(MAP["host"]["base"], 5)]
    beat = {"data": [1] * PORT, "strobe": 1}
    cocotb.start_soon(sends(dut, "i_stream", LONG, commands))
    cocotb.start_soon(sends(dut, "i_write", SHORT, commands))
    cocotb.start_soon(sends(dut, "i_wdata", WRITE, [beat] * 42))
    await collects(dut, "o_stream", BEAT, 42)
    await until_idle(dut)
    assert counts == {"read_beat": 42, "write_beat": 42}
    assert len(memory.strobes) == 42
