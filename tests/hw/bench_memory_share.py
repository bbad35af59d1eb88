"""Bench for `hw.board.memory_share`."""

import random

import cocotb
from cocotb.triggers import ClockCycles, ReadOnly, RisingEdge
from cocotbext.axi import AxiBus, AxiMaster, AxiResp

from tests.hw.axi_memory import AxiMemory
from tests.hw.vector_stream import seeded
from tests.support.bench import STALLS, at_random, cycle, params, start, watchdog

PORT = params()["port_bytes"]
SIZE = 1 << 16
MANAGERS = ("chip", "bridge")
ADDRESS = ("id", "addr", "len", "size", "burst", "lock", "cache", "prot", "qos")
CHANNELS = {
    "aw": ADDRESS,
    "w": ("data", "strb", "last"),
    "ar": ADDRESS,
    "r": ("id", "data", "resp", "last"),
    "b": ("id", "resp"),
}


async def keeps_rules(dut, port, channel):
    """Watch for ever that an offer on a channel stays the same until it is taken."""
    names = [f"{port}__{channel}{name}" for name in CHANNELS[channel]]
    valid, ready = (getattr(dut, f"{port}__{channel}{part}") for part in ("valid", "ready"))
    offered = None
    while True:
        await ReadOnly()
        now = [int(getattr(dut, name).value) for name in names] if int(valid.value) else None
        if offered is not None:
            assert now == offered, f"{port}, {channel}, cycle {cycle()}: the offer changed"
        offered = now if now is not None and not int(ready.value) else None
        await RisingEdge(dut.clk)


def master(dut, name, *, seed=1, stalled=False):
    bus = AxiBus.from_prefix(dut, f"{name}_")
    made = AxiMaster(bus, dut.clk, dut.rst, max_burst_len=16)
    for half in (made.write_if, made.read_if):
        half.log.setLevel("WARNING")
    if stalled:
        channels = (
            made.write_if.aw_channel,
            made.write_if.w_channel,
            made.write_if.b_channel,
            made.read_if.ar_channel,
            made.read_if.r_channel,
        )
        for index, channel in enumerate(channels):
            pauses = AxiMemory.pauses(lambda index=index: at_random(seed + index), skip=index)
            channel.set_pause_generator(pauses)
    return made


async def begins(dut, *, masters=True, stalled=False, **options):
    await start(dut)
    cocotb.start_soon(watchdog(dut, 200_000))
    for channel in ("ar", "aw", "w"):
        cocotb.start_soon(keeps_rules(dut, "axi", channel))
    for name in MANAGERS:
        for channel in ("r", "b"):
            cocotb.start_soon(keeps_rules(dut, name, channel))
    memory = AxiMemory(dut, size=SIZE, **options)
    made = [master(dut, name, seed=9 * n, stalled=stalled) for n, name in enumerate(MANAGERS)]
    await ClockCycles(dut.clk, 3)
    return memory, made if masters else None


@cocotb.test()
@cocotb.parametrize(stall=list(STALLS), stalled=[False, True])
async def both_read_back_what_they_wrote(dut, stall, stalled):
    rng = random.Random(31)
    memory, masters = await begins(dut, stalled=stalled, stall=STALLS[stall], latency=7)
    expected = bytearray(memory.content)

    async def works(manager, rng, base):
        """Write and read at random in one half of the memory, several bursts at once."""
        half = SIZE // 2
        for _ in range(20):
            tasks = []
            for _ in range(rng.randrange(1, 5)):
                count = rng.randrange(1, 300)
                addr = base + rng.randrange(0, half - count, PORT)
                if rng.random() < 0.5:
                    raw = rng.randbytes(count)
                    expected[addr : addr + count] = raw
                    got = await manager.write(addr, raw)
                    assert got.resp == AxiResp.OKAY
                else:
                    tasks.append((count, cocotb.start_soon(manager.read(addr, count))))
            for count, task in tasks:
                got = await task
                assert got.resp == AxiResp.OKAY
                # Writes that came later may be in it; what nobody wrote since must be right.
                assert len(got.data) == count
            addr = base + rng.randrange(0, half - 256, PORT)
            got = await manager.read(addr, 256)
            assert got.data == expected[addr : addr + 256], hex(addr)

    tasks = [
        cocotb.start_soon(works(manager, random.Random(rng.random()), n * SIZE // 2))
        for n, manager in enumerate(masters)
    ]
    for task in tasks:
        await task
    assert memory.content == expected
    assert {rid >> 4 for rid, _, _ in memory.reads} == {0, 1}


@cocotb.test()
async def errors_go_to_the_one_who_asked(dut):
    errors = {0x1000: AxiResp.SLVERR, 0x2000: AxiResp.DECERR}
    memory, (chip, bridge) = await begins(dut, errors=errors, latency=9)
    asked = [
        cocotb.start_soon(access)
        for access in (
            chip.read(0x1000, PORT),
            bridge.read(0x3000, PORT),
            bridge.write(0x2000, bytes(PORT)),
            chip.write(0x3800, bytes(PORT)),
        )
    ]
    answers = [(await task).resp for task in asked]
    assert answers == [AxiResp.SLVERR, AxiResp.OKAY, AxiResp.DECERR, AxiResp.OKAY]


@cocotb.test()
@cocotb.parametrize(channel=["ar", "aw"])
async def bursts_take_turns(dut, channel):
    """Both always have an address on offer: the memory sees them one by one."""
    await start(dut)
    cocotb.start_soon(watchdog(dut, 5000))
    owners = []
    dut.axi__wready.value = 1
    for number, name in enumerate(MANAGERS):
        getattr(dut, f"{name}__{channel}valid").value = 1
        getattr(dut, f"{name}__{channel}addr").value = 0x100 * (number + 1)
        getattr(dut, f"{name}__{channel}id").value = 3
        getattr(dut, f"{name}__wvalid").value = 1
        getattr(dut, f"{name}__wlast").value = 1
    rng = random.Random(32)
    while len(owners) < 60:
        getattr(dut, f"axi__{channel}ready").value = rng.randrange(2)
        await ReadOnly()
        valid, ready = (int(getattr(dut, f"axi__{channel}{x}").value) for x in ("valid", "ready"))
        if valid and ready:
            owner, low = divmod(int(getattr(dut, f"axi__{channel}id").value), 16)
            assert low == 3
            assert int(getattr(dut, f"axi__{channel}addr").value) == 0x100 * (owner + 1)
            owners.append(owner)
        await RisingEdge(dut.clk)
    assert all(a != b for a, b in zip(owners, owners[1:], strict=False)), owners


def any_bits(dut, rng, port, channel, count):
    """Return transfers of a channel: every second has all bits of the one before inverted."""
    widths = {name: len(getattr(dut, f"{port}__{channel}{name}")) for name in CHANNELS[channel]}
    out = []
    for _ in range(count // 2):
        fields = {name: rng.getrandbits(width) for name, width in widths.items()}
        out += [fields, {name: fields[name] ^ ((1 << widths[name]) - 1) for name in widths}]
    return out


async def offers(dut, port, channel, transfers, idle):
    """Make transfers on a channel, idling before each."""
    valid, ready = (getattr(dut, f"{port}__{channel}{part}") for part in ("valid", "ready"))
    for fields in transfers:
        for _ in range(next(idle)):
            await RisingEdge(dut.clk)
        for name, value in fields.items():
            getattr(dut, f"{port}__{channel}{name}").value = value
        valid.value = 1
        while True:
            await ReadOnly()
            taken = int(ready.value)
            await RisingEdge(dut.clk)
            if taken:
                break
        valid.value = 0


async def takes(dut, port, channel, taken, idle):
    """Append to ``taken`` for ever what a channel brings, idling before each transfer."""
    valid, ready = (getattr(dut, f"{port}__{channel}{part}") for part in ("valid", "ready"))
    while True:
        for _ in range(next(idle)):
            await RisingEdge(dut.clk)
        ready.value = 1
        while True:
            await ReadOnly()
            fields = {
                name: int(getattr(dut, f"{port}__{channel}{name}").value)
                for name in CHANNELS[channel]
            }
            moves = int(valid.value)
            await RisingEdge(dut.clk)
            if moves:
                break
        ready.value = 0
        taken.append(fields)


@cocotb.test()
@cocotb.parametrize(channel=["ar", "aw"], stall=list(STALLS))
async def an_address_arrives_with_all_its_bits(dut, channel, stall):
    """Whatever its fields hold: of each manager in order, with the manager in the ID."""
    rng = seeded()
    await start(dut)
    cocotb.start_soon(watchdog(dut, 5000))
    cocotb.start_soon(keeps_rules(dut, "axi", channel))
    # A beat of data for each address that is written to.
    dut.axi__wready.value = 1
    sent = [any_bits(dut, rng, name, channel, 60) for name in MANAGERS]
    taken = []
    cocotb.start_soon(takes(dut, "axi", channel, taken, STALLS[stall]()))
    for name, transfers in zip(MANAGERS, sent, strict=True):
        getattr(dut, f"{name}__wvalid").value = 1
        getattr(dut, f"{name}__wlast").value = 1
        cocotb.start_soon(offers(dut, name, channel, transfers, STALLS[stall]()))
    while len(taken) < sum(map(len, sent)):
        await RisingEdge(dut.clk)
    for owner, transfers in enumerate(sent):
        got = [fields | {"id": fields["id"] % 16} for fields in taken if fields["id"] >> 4 == owner]
        assert got == transfers, MANAGERS[owner]


@cocotb.test()
@cocotb.parametrize(channel=["r", "b"], stall=list(STALLS))
async def an_answer_comes_back_with_all_its_bits(dut, channel, stall):
    """Whatever its fields hold: to the manager that the ID names, in order."""
    rng = seeded()
    await start(dut)
    cocotb.start_soon(watchdog(dut, 5000))
    sent = any_bits(dut, rng, "axi", channel, 120)
    taken = [[], []]
    for name, got in zip(MANAGERS, taken, strict=True):
        cocotb.start_soon(keeps_rules(dut, name, channel))
        cocotb.start_soon(takes(dut, name, channel, got, STALLS[stall]()))
    await offers(dut, "axi", channel, sent, STALLS[stall]())
    while sum(map(len, taken)) < len(sent):
        await RisingEdge(dut.clk)
    for owner, got in enumerate(taken):
        wanted = [
            fields | {"id": fields["id"] % 16} for fields in sent if fields["id"] >> 4 == owner
        ]
        assert got == wanted, MANAGERS[owner]


@cocotb.test()
async def a_beat_moves_in_every_cycle(dut):
    memory, (chip, _) = await begins(dut, latency=1)
    task = cocotb.start_soon(chip.read(0, 64 * 16 * PORT))
    seen = []
    while len(seen) < 64 * 16:
        await ReadOnly()
        if int(dut.chip__rvalid.value) and int(dut.chip__rready.value):
            seen.append(cycle())
        await RisingEdge(dut.clk)
    assert (await task).data == memory.content[: 64 * 16 * PORT]
    # Cycles in which the memory itself had nothing are the memory's.
    assert seen[-1] - seen[0] < 1.1 * 64 * 16
