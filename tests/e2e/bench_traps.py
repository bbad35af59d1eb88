"""Errors of the whole chip, each followed by a run, without a reset, that must be right."""

import contextlib
import pickle
from pathlib import Path

import cocotb
import pytest
from cocotb.triggers import ClockCycles, RisingEdge

from hw.spec import isa
from hw.spec.csr import ERRORS, IRQ, STATUS
from sim.device.error import ChipError, DeviceError, RequestFailed
from sim.run.inside import connect
from tests.support import coverage
from tests.support.bench import params


class Bench:
    """A device, a prompt, and the tokens that must follow it."""

    def __init__(self, device):
        self.device = device
        self.compiled = device.compiled
        self.map = device.compiled.memory_map
        self.prompt = params()["prompt"]
        self.expected = params()["tokens"]

    async def fails(self, count=None):
        """Run the prompt; return the `ChipError` that the run must end with."""
        with pytest.raises(ChipError) as caught:
            await self.device.generate(self.prompt, count or len(self.expected))
        assert not await self.device.register("status") & 1 << STATUS["busy"]
        assert not await self.device.register("status") & 1 << STATUS["done"]
        return caught.value

    async def runs(self):
        """Check that a run, from the chip's state as it is, writes the right tokens."""
        await self.device.attach()
        assert await self.device.generate(self.prompt, len(self.expected)) == self.expected
        status = await self.device.register("status")
        assert status & 1 << STATUS["done"]
        assert not status & 1 << STATUS["error"]
        assert await self.device.register("error_cause") == ERRORS["none"]

    async def fails_with(self, cause, addr, operator=None):
        error = await self.fails()
        assert (error.cause, error.addr) == (cause, addr), str(error)
        if operator:
            assert error.operator == operator, str(error)
        assert cause in str(error)

    async def refused(self, cause, detail, *, prompt=None, pages=(0,), poke=None, **fields):
        """Check that a request ends by an error of its own, between two that do not.

        ``poke``: of the place's prompt or page table, and words to be written over it.
        """
        device, count = self.device, len(self.expected)
        good = [await device.submit(self.prompt, count, pages=[2])]
        number = await device.submit_unchecked(prompt or self.prompt, list(pages), **fields)
        if poke:
            name, values = poke
            at = self.map.offset(device.fields_of(number)[name])
            device.transport.memory[at : at + 4 * len(values)].view("<u4")[:] = values
        good.append(await device.submit(self.prompt, count, pages=[3]))
        await device.start()
        tokens, last = {}, {}
        async for event in device.events():
            tokens.setdefault(event.request_id, []).append(event.token)
            last[event.request_id] = event
        assert [tokens[one] for one in good] == [self.expected] * 2
        assert {last[one].kind for one in good} == {"end"}
        event = last[number]
        assert event.kind == "failed"
        error = RequestFailed(event)
        assert (error.cause, error.detail) == (cause, detail), str(error)
        assert await device.register("error_cause") == ERRORS["none"]
        return tokens[number][:-1]

    def word_addr(self, operator):
        return self.map.program_addr + self.compiled.op_id(operator) * isa.WORD_BYTES

    @contextlib.contextmanager
    def poked(self, addr, data):
        """Change bytes of the memory for a while."""
        at = self.map.offset(addr)
        before = self.device.transport.memory[at : at + len(data)].copy()
        self.device.transport.memory[at : at + len(data)] = list(data)
        yield
        self.device.transport.memory[at : at + len(data)] = before

    def changed(self, operator, **fields):
        """Change fields of an operator word for a while."""
        at = self.map.offset(self.word_addr(operator))
        word = self.device.transport.memory[at : at + isa.WORD_BYTES].tobytes()
        name, values = isa.decode(word)
        return self.poked(self.word_addr(operator), isa.encode(name, **values | fields))


async def begin(dut):
    compiled = pickle.loads(Path(params()["compiled"]).read_bytes())
    return Bench(await connect(dut, compiled, params()["image"]))


@cocotb.test()
async def bad_opcode(dut):
    bench = await begin(dut)
    for opcode in (0, max(o.opcode for o in isa.OPERATORS.values()) + 1, 255):
        with bench.poked(bench.word_addr("layer 0 qkv"), [opcode]):
            await bench.fails_with("bad_opcode", bench.word_addr("layer 0 qkv"))
    await bench.runs()


@cocotb.test()
async def bad_field(dut):
    bench = await begin(dut)
    wrong = {
        "embed": {"blocks": 0},
        "rope": {"blocks": 1000},
        "layer 0 attention norm": {"dst": 1000},
        "layer 0 qkv": {"strips1": 0},
        "layer 0 attention": {"kv_heads": 0},
        "layer 1 glu": {"dest": 9},
        "layer 1 down": {"blocks": 0},
    }
    for operator, fields in wrong.items():
        with bench.changed(operator, **fields):
            await bench.fails_with("bad_field", bench.word_addr(operator))
    await bench.runs()


@cocotb.test()
async def address_outside_its_region(dut):
    bench = await begin(dut)
    outside = bench.map.host_limit + 4096
    with bench.changed("layer 0 ffn norm", addr=outside):
        await bench.fails_with("bad_address", outside)
    await bench.runs()
    # The regions are the host's: here the stream starts inside and ends outside.
    operator = "layer 1 down"
    addr = bench.compiled.addresses[bench.compiled.op_id(operator)]
    await bench.device.set_register("image_limit", addr + 64)
    await bench.fails_with("bad_address", addr)
    await bench.runs()


@cocotb.test()
async def registers_outside_their_region(dut):
    bench = await begin(dut)
    for name in ("program_addr", "request_ring_addr", "event_ring_addr"):
        await bench.device.set_register(name, 0xFFFF0000)
        await bench.fails_with("bad_address", 0xFFFF0000)
        await bench.runs()


@cocotb.test()
async def writes_outside_their_region(dut):
    bench = await begin(dut)
    await bench.device.set_register("event_ring_addr", bench.map.image_base)
    before = bench.device.transport.memory.copy()
    await bench.fails_with("bad_address", bench.map.image_base)
    image = bench.map.offset(bench.map.image_limit)
    assert (bench.device.transport.memory[:image] == before[:image]).all()
    await bench.runs()


@cocotb.test()
async def nothing_behind_an_address(dut):
    bench = await begin(dut)
    beyond = bench.map.offset(bench.map.host_limit) + 4096
    await bench.device.set_register("image_limit", beyond + 0x10000)
    with bench.changed("layer 0 ffn norm", addr=beyond):
        await bench.fails_with("axi_decerr", beyond)
    await bench.runs()


@cocotb.test()
async def start_while_busy(dut):
    bench = await begin(dut)
    device = bench.device
    await device.submit(bench.prompt, len(bench.expected))
    await device.start()
    with pytest.raises(DeviceError, match="the chip is busy"):
        await device.start()
    await device.set_register("control", 1)
    assert await device.register("error_cause") == ERRORS["busy_start"]
    coverage.trap("busy_start")
    assert await device.register("irq_status") & 1 << IRQ["error"]
    assert [event.token async for event in device.events()] == bench.expected
    await bench.runs()


@cocotb.test()
async def page_outside_the_kv_region(dut):
    bench = await begin(dut)
    for page in (bench.map.page_count, bench.compiled.config.kv_pages, 1 << 16, 0xFFFFFFFF):
        await bench.refused("bad_page", page, poke=("page_table_addr", [page]))
    await bench.runs()


@cocotb.test()
async def page_of_another_request(dut):
    bench = await begin(dut)
    page_len = bench.compiled.config.page_len
    await bench.refused("bad_page", 2, pages=[0, 2])
    await bench.refused("bad_page", 2, pages=[2, 0], start_pos=page_len, shared_pages=1)
    await bench.refused("bad_page", 1, pages=[1, 1])
    await bench.runs()


@cocotb.test()
async def position_without_a_page(dut):
    bench = await begin(dut)
    page_len = bench.compiled.config.page_len
    await bench.refused("page_miss", page_len, prompt=[1] * (page_len + 1))
    # While writing tokens: those before are in the ring.
    written = await bench.refused("page_miss", page_len, prompt=[1] * (page_len - 1), max_tokens=5)
    assert len(written) == 2
    await bench.runs()


@cocotb.test()
async def sequence_too_long(dut):
    bench = await begin(dut)
    context = bench.map.context
    for length in (context + 1, bench.compiled.config.max_context + 1, 0x7FFFFFFF):
        await bench.refused("too_long", length, prompt_len=length)
    # While writing tokens.
    page_len = bench.compiled.config.page_len
    pages = context // page_len
    assert pages == bench.map.sequence_pages == 2
    await bench.device.set_register("context", page_len + 2)
    written = await bench.refused(
        "too_long", page_len + 2, prompt=[1] * (page_len + 1), pages=[0, 1], max_tokens=5
    )
    assert len(written) == 2
    await bench.runs()


@cocotb.test()
async def token_outside_the_vocabulary(dut):
    bench = await begin(dut)
    for token in (bench.compiled.shape.vocab, 0xFFFFFFFF):
        await bench.refused("bad_token", token, poke=("prompt_addr", [1, token]))
    # The program's own check stops the chip.
    await bench.device.set_register("vocab", bench.map.vocab + 1)
    token = bench.map.vocab
    number = await bench.device.submit(bench.prompt, 1)
    at = bench.map.offset(bench.device.fields_of(number)["prompt_addr"])
    bench.device.transport.memory[at : at + 4].view("<u4")[:] = token
    await bench.device.start()
    with pytest.raises(ChipError) as caught:
        async for _ in bench.device.events():
            pass
    error = caught.value
    assert (error.cause, error.addr, error.operator) == ("bad_token", token, "embed")
    await bench.runs()


@cocotb.test()
async def numbers_that_are_not_allowed(dut):
    bench = await begin(dut)
    outside = bench.map.host_limit
    for number, fields in (
        (0, {"prompt_len": 0}),
        (0, {"max_tokens": 0}),
        (0, {"page_count": 0}),
        (bench.compiled.config.max_pages + 1, None),
        (1, {"shared_pages": 1}),
        (outside, {"prompt_addr": outside}),
        (outside, {"page_table_addr": outside}),
    ):
        await bench.refused("bad_request", number, **fields or {"page_count": number})
    await bench.runs()


@cocotb.test()
async def rings_of_no_length(dut):
    bench = await begin(dut)
    for name in ("request_ring_len", "event_ring_len"):
        for length in (0, 12):
            await bench.device.set_register(name, length)
            await bench.fails_with("bad_request", length)
            await bench.runs()


@cocotb.test()
async def request_withdrawn(dut):
    bench = await begin(dut)
    device = bench.device
    for cycles in (1, 300, 3000):
        numbers = [await device.submit(bench.prompt, count) for count in (2, 40)]
        await device.start()
        await ClockCycles(dut.clk, cycles)
        await device.cancel(numbers[1])
        tokens, last = {number: [] for number in numbers}, {}
        async for event in device.events():
            last[event.request_id] = event.kind
            if event.kind != "cancelled":
                tokens[event.request_id].append(event.token)
        assert tokens[numbers[0]] == bench.expected
        assert last == {numbers[0]: "end", numbers[1]: "cancelled"}
        assert len(tokens[numbers[1]]) < 40
    await bench.runs()


@cocotb.test()
async def position_outside_its_table(dut):
    bench = await begin(dut)
    rows = len(bench.prompt) - 1
    with bench.changed("embed", positions=1, valid=rows):
        await bench.fails_with("too_long", rows, "embed")
    await bench.runs()


@cocotb.test()
async def watchdog(dut):
    bench = await begin(dut)
    await bench.device.set_register("watchdog", 8)  # less than the memory's latency
    await bench.fails_with("watchdog", 0)
    await bench.runs()


@cocotb.test()
async def stop(dut):
    bench = await begin(dut)
    device = bench.device
    for cycles in (1, 5, 40, 200, 1000, 3000):
        await device.submit(bench.prompt, 50)
        await device.start()
        await ClockCycles(dut.clk, cycles)
        await device.stop()
        written = [event.token async for event in device.events()]
        assert written == bench.expected[: len(written)]
        assert len(written) < 50
        await bench.runs()


@cocotb.test()
async def unknown_register(dut):
    bench = await begin(dut)
    with pytest.raises(DeviceError, match="register 0xffc: response 2"):
        await bench.device.transport.read(0xFFC)
    with pytest.raises(DeviceError, match="register 0x000: response 2"):
        await bench.device.set_register("id", 1)
    await bench.runs()


@cocotb.test()
async def axi_error(dut):
    """Needs ``+slverr_addr``, where a weight lies, and ``+slverr_count=1``."""
    bench = await begin(dut)
    error = await bench.fails()
    assert error.cause == "axi_slverr"
    assert 0 <= params()["slverr_addr"] - error.addr < 4096
    await bench.runs()


@cocotb.test()
async def axi_write_error(dut):
    """Needs ``+slverr_addr`` in the KV region, and ``+slverr_count=1``."""
    bench = await begin(dut)
    error = await bench.fails()
    assert error.cause == "axi_slverr"
    assert 0 <= params()["slverr_addr"] - error.addr < 4096
    await bench.runs()


@cocotb.test()
async def one_memory_behind_all_channels(dut):
    """Needs all channels without ``+channel_bytes``."""
    bench = await begin(dut)
    bench.device.one_memory = True
    await bench.runs()
    for stride in (1, 2048, 0xFFFF_FFFF):
        await bench.device.set_register("channel_stride", stride)
        await bench.fails_with("bad_request", stride)
    await bench.runs()


@cocotb.test()
async def another_configuration(dut):
    bench = await begin(dut)
    compiled = pickle.loads(Path(params()["other"]).read_bytes())
    bench.device.compiled = compiled
    with pytest.raises(DeviceError, match="the model was compiled for another configuration"):
        await bench.device.check()
    await RisingEdge(dut.clk)
