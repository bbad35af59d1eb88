"""Bench for `hw.top`: the chip between a host on AXI4-Lite and a memory on AXI4."""

import cocotb
import numpy as np
import pytest
from cocotb.triggers import ClockCycles, ReadOnly, RisingEdge
from cocotbext.axi import AxiLiteBus, AxiLiteMaster, AxiResp

from hw.lib.axi import RESP_DECERR, RESP_SLVERR
from hw.spec.csr import ERRORS as CAUSES
from hw.spec.csr import STATUS
from hw.spec.presets import preset
from sim.compiler.compile import compile_model
from sim.device.device import Device
from sim.device.error import ChipError
from sim.golden.random_model import random_model, small_shape
from sim.golden.transformer import Transformer
from tests.hw.axi_memory import AxiMemory
from tests.support.bench import STALLS, cycle, params, start, watchdog

SEED = 3
CONFIG = preset(params()["preset"])
BASE = 0x4000_0000
MODEL = random_model(
    small_shape(layers=1, dim=32, heads=2, kv_heads=1, ffn=32, vocab=40, context=64), SEED
)
COMPILED = compile_model(MODEL, CONFIG, image_base=BASE, page_count=12)
PROMPT = [(7 * i + 3) % MODEL.shape.vocab for i in range(CONFIG.max_rows + 1)]  # two chunks
COUNT = 2
PAGES = (1, 0)
ERRORS = {"axi_slverr": RESP_SLVERR, "axi_decerr": RESP_DECERR}


def golden(prompt=PROMPT, count=COUNT):
    """Return the tokens, and the cache at their end."""
    transformer = Transformer(MODEL)
    cache = transformer.new_cache()
    return list(transformer.generate(prompt, count, cache=cache)), cache


class Transport:
    """Registers through `AxiLiteMaster`; memory that host and chip share."""

    def __init__(self, dut, memory, stall):
        self.dut = dut
        self.memory = np.frombuffer(memory.content, dtype=np.uint8)
        self.master = AxiLiteMaster(AxiLiteBus.from_prefix(dut, "s_axil"), dut.clk)
        write, read = self.master.write_if, self.master.read_if
        channels = (write.aw_channel, write.w_channel, write.b_channel)
        channels += (read.ar_channel, read.r_channel)
        for interface in (write, read):
            interface.log.setLevel("WARNING")
        for index, channel in enumerate(channels):
            channel.set_pause_generator(AxiMemory.pauses(stall, skip=index))

    async def read(self, offset):
        got = await self.master.read(offset, 4)
        assert got.resp == AxiResp.OKAY, f"reading {offset:#x}: {got.resp}"
        return int.from_bytes(got.data, "little")

    async def write(self, offset, value):
        resp = (await self.master.write(offset, value.to_bytes(4, "little"))).resp
        assert resp == AxiResp.OKAY, f"writing {offset:#x}: {resp}"

    async def push(self, start, stop):
        """Do nothing: the memory is shared."""

    async def pull(self, start, stop):
        """Do nothing: the memory is shared."""

    async def interrupt(self):
        if not int(self.dut.irq.value):
            await RisingEdge(self.dut.irq)
            await RisingEdge(self.dut.clk)


async def obeys_axi(dut, channel, fields):
    """Watch for ever that what a channel offers stays the same until it is taken."""
    valid, ready = (getattr(dut, f"m0_axi_{channel}{name}") for name in ("valid", "ready"))
    ports = [getattr(dut, f"m0_axi_{channel}{field}") for field in fields]
    offered = None
    while True:
        await ReadOnly()
        payload = tuple(int(port.value) for port in ports) if int(valid.value) else None
        assert offered in (None, payload), f"{channel}, cycle {cycle()}: changed, or withdrawn"
        offered = None if int(ready.value) else payload
        await RisingEdge(dut.clk)


async def begin(dut, *, stall="never", latency=5, cycles=150_000):
    """Return the memory, and a `Device` that has checked the chip and loaded the model."""
    await start(dut)
    cocotb.start_soon(watchdog(dut, cycles))
    for channel, fields in (
        ("ar", ("id", "addr", "len", "size", "burst")),
        ("aw", ("id", "addr", "len", "size", "burst")),
        ("w", ("data", "strb", "last")),
    ):
        cocotb.start_soon(obeys_axi(dut, channel, fields))
    memory = AxiMemory(
        dut,
        prefix="m0_axi",
        base=BASE,
        size=COMPILED.memory_map.size_bytes,
        latency=latency,
        stall=STALLS[stall],
        seed=SEED,
    )
    device = Device(Transport(dut, memory, STALLS[stall]), COMPILED)
    await device.check()
    await device.load()
    return memory, device


async def generate(device):
    return await device.generate(PROMPT, COUNT, pages=PAGES)


def assert_cache_equals(device, pages, cache):
    got = device.host.read_cache(pages, cache.length)
    for layer in range(MODEL.shape.layers):
        names = ("k", "k_exponents", "v", "v_exponents")
        for name, expected in zip(names, cache.read(layer, cache.length), strict=True):
            np.testing.assert_array_equal(getattr(got, name)[layer], expected, err_msg=name)


@cocotb.test()
@cocotb.parametrize((
    ("stall", "latency"),
    [("never", 1), ("one_in_four", 30), ("at_random", 9)],
))
async def tokens_and_cache_equal_golden(dut, stall, latency):
    memory, device = await begin(dut, stall=stall, latency=latency)
    tokens, cache = golden()
    assert await generate(device) == tokens
    assert_cache_equals(device, PAGES, cache)
    assert {rid for rid, _, _ in memory.reads} == {0, 1}
    counters = await device.counters()
    assert counters["tokens"] == COUNT
    assert counters["read_beats"] == sum(beats for _, _, beats in memory.reads)
    assert counters["write_beats"] == sum(beats for _, beats in memory.writes)


#: Prompt, tokens to write, and pages of requests that run together.
BATCH = (
    (PROMPT, 2, (1, 0)),
    (PROMPT[:1], 6, (7,)),
    (PROMPT[3:], 4, (2, 11)),
    (PROMPT[:5], 3, (5,)),
    (PROMPT[2:4], 1, (9,)),
    (PROMPT[:1], 0, (3,)),  # asks for nothing
    (PROMPT[4:], 3, (10, 6)),
)


@cocotb.test()
async def requests_of_a_batch_do_not_know_of_each_other(dut):
    """More of them than slots: one that is refused, one that is withdrawn."""
    _, device = await begin(dut, stall="at_random", latency=9, cycles=400_000)
    numbers = [
        await device.submit(prompt, count, pages=pages)
        if count
        else await device.submit_unchecked(prompt, pages, max_tokens=count)
        for prompt, count, pages in BATCH
    ]
    withdrawn, refused = numbers[2], numbers[5]
    await device.start()
    tokens, last = {number: [] for number in numbers}, {}
    async for event in device.events():
        if event.kind in ("token", "end"):
            tokens[event.request_id].append(event.token)
        if event.kind != "token":
            last[event.request_id] = (event.kind, event.cause)
        if event.request_id == withdrawn:
            await device.cancel(withdrawn)
    ends = dict.fromkeys(numbers, ("end", 0))
    ends |= {withdrawn: ("cancelled", 0), refused: ("failed", CAUSES["bad_request"])}
    assert last == ends
    for number, (prompt, count, pages) in zip(numbers, BATCH, strict=True):
        if number != refused:
            expected, cache = golden(prompt, count)
            got = tokens[number]
            assert got == expected[: len(got)]
            assert len(got) == count or number == withdrawn
            if number != withdrawn:
                assert_cache_equals(device, pages, cache)
    assert 0 < len(tokens[withdrawn]) < BATCH[2][1]
    counters = await device.counters()
    assert counters["passes"] < sum(count for _, count, _ in BATCH)


def bursts_in(region, bursts):
    """Return the addresses of the bursts that lie in a region of the memory map."""
    memory_map = COMPILED.memory_map
    low, high = (getattr(memory_map, f"{region}_{end}") for end in ("base", "limit"))
    return [addr for *_, addr, _ in bursts if low <= addr < high]


@cocotb.test()
async def bus_errors_are_reported_and_the_next_run_is_right(dut):
    memory, device = await begin(dut, latency=9, cycles=400_000)
    tokens, cache = golden()
    assert await generate(device) == tokens
    stream = [burst for burst in memory.reads if burst[0] == 0]
    fetch = [burst for burst in memory.reads if burst[0] == 1]
    places = {
        "weights": bursts_in("image", stream)[len(stream) // 3],
        "cache read": bursts_in("kv", stream)[-1],
        "program": bursts_in("image", fetch)[3],
        "request": bursts_in("host", fetch)[0],
        "page table": "page_table_addr",  # of each request anew
        "prompt": "prompt_addr",
        "cache write": bursts_in("kv", memory.writes)[-1],
        "event": bursts_in("host", memory.writes)[0],
    }
    causes = list(ERRORS)
    for number, (place, addr) in enumerate(places.items()):
        cause = causes[number % len(causes)]
        request = await device.submit(PROMPT, COUNT, pages=PAGES)
        if isinstance(addr, str):
            addr = device.fields_of(request)[addr]
        memory.errors[addr] = ERRORS[cause]
        await device.start()
        with pytest.raises(ChipError) as raised:
            _ = [event async for event in device.events()]
        assert (raised.value.cause, raised.value.addr) == (cause, addr), place
        memory.errors.clear()
        status = await device.register("status")
        assert status == 1 << STATUS["error"], f"{place}: status is {status:#x}"
        assert not any(memory.reading.values()), f"{place}: bursts were left on the bus"
        assert await generate(device) == tokens, place
        assert_cache_equals(device, PAGES, cache)


@cocotb.test()
async def stopped_run_leaves_a_chip_that_starts(dut):
    memory, device = await begin(dut, latency=9, stall="at_random")
    tokens, _ = golden()
    for cycles in (50, 700, 3001):
        await device.submit(PROMPT, COUNT, pages=PAGES)
        await device.start()
        await ClockCycles(dut.clk, cycles)
        await device.stop()
        assert [event async for event in device.events()] == []
        assert not any(memory.reading.values())
        assert not memory.announced
    assert await generate(device) == tokens
