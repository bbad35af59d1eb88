"""Benches for `test_csr`."""

import random
from dataclasses import replace

import cocotb
from cocotb.triggers import ClockCycles, ReadOnly, RisingEdge
from cocotbext.axi import AxiLiteBus, AxiLiteMaster, AxiResp

from hw.csr import ADDR_WIDTH, count_ranges
from hw.spec.csr import (
    CONTROL,
    COUNTERS,
    ERRORS,
    ID_VALUE,
    IRQ,
    STATUS,
    VERSION_VALUE,
    counter_offset,
    registers_of,
)
from hw.spec.presets import preset
from tests.support.bench import STALLS, cycle, params, start, watchdog

SEED = 1
CONFIG = replace(preset(params()["preset"]), parity=params()["parity"])
REGISTERS = registers_of(CONFIG)
RANGES = count_ranges(CONFIG)
RW = [name for name, reg in REGISTERS.items() if reg.access == "rw" and name != "irq_status"]
KNOWN = {reg.offset for reg in REGISTERS.values()}
KNOWN |= {counter_offset(name) + half for name in COUNTERS for half in (0, 4)}


class Host:
    """Reads and writes registers by name or offset."""

    def __init__(self, dut, stall=None):
        self.dut = dut
        self.master = AxiLiteMaster(AxiLiteBus.from_prefix(dut, "bus_"), dut.clk)
        write, read = self.master.write_if, self.master.read_if
        for interface in (write, read):
            interface.log.setLevel("WARNING")
        if stall:
            channels = (
                write.aw_channel,
                write.w_channel,
                write.b_channel,
                read.ar_channel,
                read.r_channel,
            )
            for index, channel in enumerate(channels):
                channel.set_pause_generator(self.pauses(stall, 5 * index))

    @staticmethod
    def pauses(stall, skip):
        idle = stall()
        for _ in range(skip):
            next(idle)
        for count in idle:
            yield from (True,) * count
            yield False

    @staticmethod
    def offset(where):
        return REGISTERS[where].offset if isinstance(where, str) else where

    async def access(self, where):
        got = await self.master.read(self.offset(where), 4)
        return got.resp, int.from_bytes(got.data, "little")

    async def read(self, where):
        resp, value = await self.access(where)
        assert resp == AxiResp.OKAY, f"{where}: {resp}"
        return value

    async def write_response(self, where, data, lane=0):
        if isinstance(data, int):
            data = data.to_bytes(4, "little")
        return (await self.master.write(self.offset(where) + lane, data)).resp

    async def write(self, where, data, lane=0):
        resp = await self.write_response(where, data, lane)
        assert resp == AxiResp.OKAY, f"{where}: {resp}"

    async def counter(self, name):
        low = await self.read(counter_offset(name))
        return low | await self.read(counter_offset(name) + 4) << 32


async def begin(dut, stall=None):
    await start(dut)
    cocotb.start_soon(watchdog(dut, 50000))
    return Host(dut, stall)


async def strobe(dut, **values):
    for name, value in values.items():
        getattr(dut, name).value = value
    await RisingEdge(dut.clk)
    for name in values:
        getattr(dut, name).value = 0


async def counts(dut, name, seen):
    while True:
        await ReadOnly()
        seen[name] = seen.get(name, 0) + int(getattr(dut, name).value)
        await RisingEdge(dut.clk)


@cocotb.test()
async def constants_tell_what_was_built(dut):
    host = await begin(dut)
    assert await host.read("id") == ID_VALUE
    assert await host.read("version") == VERSION_VALUE
    fields = {
        "config0": ((CONFIG.rows, 8), (CONFIG.cols, 8), (CONFIG.lanes, 8), (CONFIG.port_bytes, 8)),
        "config1": ((CONFIG.max_rows, 16), (CONFIG.max_dim, 16)),
        "config2": ((CONFIG.max_context, 16), (CONFIG.page_len, 16)),
        "config3": ((CONFIG.act_blocks, 16), (CONFIG.max_head_dim, 16)),
        "config4": ((CONFIG.max_seqs, 16), (CONFIG.kv_pages, 16)),
    }
    for name, parts in fields.items():
        word = await host.read(name)
        for value, width in parts:
            assert word & ((1 << width) - 1) == value, name
            word >>= width


@cocotb.test()
@cocotb.parametrize(stall=list(STALLS))
async def writable_registers_keep_what_is_written(dut, stall):
    host = await begin(dut, STALLS[stall])
    rng = random.Random(SEED)
    expected = dict.fromkeys(RW, 0)
    for name in RW:
        assert await host.read(name) == 0
    for turn in range(3):
        for name in rng.sample(RW, len(RW)):
            expected[name] = (0xFFFFFFFF, 0, rng.getrandbits(32))[turn]
            await host.write(name, expected[name])
        for name in RW:
            assert await host.read(name) == expected[name], name
            assert int(getattr(dut, name).value) == expected[name], name


@cocotb.test()
async def bytes_are_written_one_by_one(dut):
    host = await begin(dut)
    rng = random.Random(SEED)
    for name in RW:
        expected = bytearray(4)
        for _ in range(8):
            lane = rng.randrange(4)
            data = rng.randbytes(rng.randrange(1, 5 - lane))
            await host.write(name, data, lane)
            expected[lane : lane + len(data)] = data
            assert await host.read(name) == int.from_bytes(expected, "little")


@cocotb.test()
async def offsets_without_a_register_answer_slverr(dut):
    host = await begin(dut)
    for offset in range(0, 1 << ADDR_WIDTH, 4):
        resp, value = await host.access(offset)
        assert (resp == AxiResp.OKAY) == (offset in KNOWN), hex(offset)
        assert resp in (AxiResp.OKAY, AxiResp.SLVERR)
        assert value == 0 or offset in KNOWN, hex(offset)
        if offset not in KNOWN:
            assert await host.write_response(offset, 0xFFFFFFFF) == AxiResp.SLVERR
    for name in RW:
        assert await host.read(name) == 0


@cocotb.test()
async def read_only_registers_refuse_writes(dut):
    host = await begin(dut)
    for name, register in REGISTERS.items():
        if register.access == "ro":
            before = await host.read(name)
            assert await host.write_response(name, ~before & 0xFFFFFFFF) == AxiResp.SLVERR, name
            assert await host.read(name) == before
    for name in COUNTERS:
        assert await host.write_response(counter_offset(name), 1) == AxiResp.SLVERR, name


@cocotb.test()
async def control_bits_are_strobes_of_one_cycle(dut):
    host = await begin(dut)
    seen = {}
    for name in CONTROL:
        cocotb.start_soon(counts(dut, name, seen))
    expected = dict.fromkeys(CONTROL, 0)
    for name, bit in CONTROL.items():
        await host.write("control", 1 << bit)
        expected[name] += 1
        assert seen == expected
    await host.write("control", 0)
    await host.write("control", b"\xff\xff\xff", lane=1)
    assert seen == expected
    await host.write("control", sum(1 << bit for bit in CONTROL.values()))
    assert seen == dict.fromkeys(CONTROL, 2)
    assert await host.read("control") == 0


@cocotb.test()
async def a_request_may_be_withdrawn_while_busy(dut):
    """It is the one that ``cancel_id`` names when the strobe comes."""
    host = await begin(dut)
    dut.busy.value = 1
    withdrawn = []

    async def watches():
        while True:
            await ReadOnly()
            if int(dut.cancel.value):
                withdrawn.append(int(dut.cancel_id.value))
            await RisingEdge(dut.clk)

    cocotb.start_soon(watches())
    for request in (7, 0, 0xFFFFFFFF):
        await host.write("cancel_id", request)
        await host.write("control", 1 << CONTROL["cancel"])
    assert withdrawn == [7, 0, 0xFFFFFFFF]
    assert await host.read("irq_status") == 0


@cocotb.test()
async def read_only_registers_show_their_inputs(dut):
    host = await begin(dut)
    for bits in range(1 << len(STATUS)):
        for name, bit in STATUS.items():
            getattr(dut, name).value = bits >> bit & 1
        assert await host.read("status") == bits
    names = ["requests_taken", "events_written", *(["parity_errors"] if CONFIG.parity else [])]
    for flip in (0, (1 << 32) - 1, 0):
        for index, name in enumerate(names):
            getattr(dut, name).value = (0x89ABCDEF + index) ^ flip
        for index, name in enumerate(names):
            assert await host.read(name) == (0x89ABCDEF + index) ^ flip


async def error_of(host):
    return [await host.read(f"error_{what}") for what in ("cause", "addr", "op")]


@cocotb.test()
async def first_error_is_kept_until_the_next_start(dut):
    host = await begin(dut)
    assert await error_of(host) == [0, 0, 0]
    for cause in sorted(set(ERRORS.values()) - {ERRORS["none"]}):
        first = [cause, 0xFFFF0000 ^ (cause * 0x11111111), 0xF000 ^ (cause * 0x1111)]
        keys = ("error_cause", "error_addr", "error_op")
        await strobe(dut, error_valid=1, **dict(zip(keys, first, strict=True)))
        await strobe(dut, error_valid=1, error_cause=1, error_addr=1, error_op=1)
        assert await error_of(host) == first
        await host.write("control", 1 << CONTROL["stop"])
        assert await error_of(host) == first
        await host.write("control", 1 << CONTROL["start"])
        assert await error_of(host) == [0, 0, 0]


@cocotb.test()
async def start_while_busy_leaves_the_run_alone(dut):
    host = await begin(dut)
    seen = {}
    cocotb.start_soon(counts(dut, "start", seen))
    await host.write("control", 1 << CONTROL["start"])
    dut.busy.value = 1
    await strobe(dut, count_tokens=1)
    await host.write("control", 1 << CONTROL["start"])
    assert seen == {"start": 1}
    assert await host.read("irq_status") == 1 << IRQ["error"]
    assert await error_of(host) == [ERRORS["busy_start"], 0, 0]
    assert await host.counter("tokens") == 1
    # A real error is worth more.
    await strobe(dut, error_valid=1, error_cause=ERRORS["watchdog"], error_addr=5, error_op=6)
    assert await error_of(host) == [ERRORS["watchdog"], 5, 6]
    await host.write("control", 1 << CONTROL["start"])
    assert await error_of(host) == [ERRORS["watchdog"], 5, 6]
    dut.busy.value = 0
    await host.write("control", 1 << CONTROL["start"])
    assert await error_of(host) == [0, 0, 0]
    assert seen == {"start": 2}


@cocotb.test()
async def interrupts_are_set_enabled_and_cleared_bit_by_bit(dut):
    host = await begin(dut)
    everything = (1 << len(IRQ)) - 1
    for name, bit in IRQ.items():
        await strobe(dut, **{f"{name}_event": 1})
        assert await host.read("irq_status") == 1 << bit
        await ClockCycles(dut.clk, 2)
        assert not int(dut.irq.value)
        await host.write("irq_enable", everything & ~(1 << bit))
        assert not int(dut.irq.value)
        await host.write("irq_enable", 1 << bit)
        await ClockCycles(dut.clk, 2)
        assert int(dut.irq.value)
        await host.write("irq_status", everything & ~(1 << bit))
        assert int(dut.irq.value)
        await host.write("irq_status", 1 << bit)
        await ClockCycles(dut.clk, 2)
        assert not int(dut.irq.value)
        assert await host.read("irq_status") == 0
        await host.write("irq_enable", 0)


@cocotb.test()
async def event_that_meets_its_clearing_is_kept(dut):
    host = await begin(dut)
    answered = []

    async def watch_responses():
        before = 0
        while True:
            await ReadOnly()
            now = int(dut.bus__bvalid.value)
            if now and not before:
                answered.append(cycle())
            before = now
            await RisingEdge(dut.clk)

    cocotb.start_soon(watch_responses())
    met = 0
    for delay in range(12):
        writer = cocotb.start_soon(host.write("irq_status", 1 << IRQ["event"]))
        await ClockCycles(dut.clk, delay + 1)
        event = cycle()
        await strobe(dut, event_event=1)
        await writer
        await ClockCycles(dut.clk, 2)
        # A write acts in the cycle before its response shows.
        acted = answered[-1] - 1
        met += event == acted
        assert await host.read("irq_status") == (event >= acted) << IRQ["event"], delay
        await host.write("irq_status", 1 << IRQ["event"])
        assert await host.read("irq_status") == 0
    assert met == 1


@cocotb.test()
async def counters_count_while_busy_and_start_clears_them(dut):
    host = await begin(dut)
    rng = random.Random(SEED)
    for _ in range(2):
        await host.write("control", 1 << CONTROL["start"])
        for name in COUNTERS:
            assert await host.counter(name) == 0, name
        expected = dict.fromkeys(COUNTERS, 0)
        for _ in range(300):
            busy = rng.randrange(2)
            dut.busy.value = busy
            expected["cycles"] += busy
            for name in COUNTERS:
                if name != "cycles":
                    step = rng.choice(RANGES[name])
                    getattr(dut, f"count_{name}").value = step
                    expected[name] += step * busy
            await RisingEdge(dut.clk)
        dut.busy.value = 0
        await RisingEdge(dut.clk)
        for name in COUNTERS:
            assert await host.counter(name) == expected[name], name
        assert int(dut.cycles.value) == expected["cycles"]


@cocotb.test()
async def reads_and_writes_go_on_side_by_side(dut):
    host = await begin(dut, STALLS["at_random"])

    async def reads():
        for _ in range(100):
            assert await host.read("id") == ID_VALUE

    async def writes():
        for value in range(100):
            await host.write("events_read", value)
            assert int(dut.events_read.value) == value

    tasks = [cocotb.start_soon(reads()), cocotb.start_soon(writes())]
    for task in tasks:
        await task
