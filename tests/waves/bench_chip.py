"""Short things that the whole chip does, for `scripts.wave`: each test is a window of a waveform.

The order of the traps is that of `scripts.waves.chip.TRAPS`, which counts resets.
"""

import pickle
from pathlib import Path

import cocotb
import pytest

from hw.spec.csr import CONTROL, ERRORS, ID_VALUE, IRQ
from scripts.waves.chip_model import OPERATORS
from sim.device.cocotb_transport import CocotbTransport
from sim.device.error import ChipError, DeviceError, RequestFailed
from sim.device.registers import Registers
from tests.e2e.bench_traps import begin
from tests.support.bench import params


async def request_fails(bench, cause, detail, *, prompt=None, pages=(0,), poke=None, **fields):
    """Run one request that must end by an error of its own, which stops nothing else.

    ``poke``: of its prompt or page table, and a word to be written over the first.
    """
    device = bench.device
    number = await device.submit_unchecked(prompt or bench.prompt, list(pages), **fields)
    if poke:
        name, word = poke
        at = bench.map.offset(device.fields_of(number)[name])
        device.transport.memory[at : at + 4].view("<u4")[:] = word
    await device.start()
    events = [event async for event in device.events()]
    error = RequestFailed(events[-1])
    assert (error.cause, error.detail) == (cause, detail), str(error)


@cocotb.test()
async def csr_access(dut):
    compiled = pickle.loads(Path(params()["compiled"]).read_bytes())
    transport = CocotbTransport(dut, params()["image"])
    await transport.reset()
    registers = Registers(transport, compiled)
    assert await registers.register("id") == ID_VALUE
    for name, value in (("image_base", 0x12345678), ("watchdog", 0xFFFFFFFF), ("image_base", 0)):
        await registers.set_register(name, value)
        assert await registers.register(name) == value
    with pytest.raises(DeviceError, match="response 2"):
        await transport.read(0xFFC)
    with pytest.raises(DeviceError, match="response 2"):
        await registers.set_register("id", 1)
    assert await registers.register("status") == 0


@cocotb.test()
async def one_token(dut):
    bench = await begin(dut)
    numbers = {name: bench.compiled.op_id(name) for name in OPERATORS}
    assert numbers == OPERATORS
    assert await bench.device.generate(bench.prompt, 1) == bench.expected[:1]


@cocotb.test()
async def trap_bad_opcode(dut):
    bench = await begin(dut)
    with bench.poked(bench.word_addr("embed"), [0]):
        await bench.fails_with("bad_opcode", bench.word_addr("embed"))


@cocotb.test()
async def trap_bad_field(dut):
    bench = await begin(dut)
    with bench.changed("embed", blocks=0):
        await bench.fails_with("bad_field", bench.word_addr("embed"))


@cocotb.test()
async def trap_bad_address(dut):
    bench = await begin(dut)
    await bench.device.set_register("program_addr", 0xFFFF0000)
    await bench.fails_with("bad_address", 0xFFFF0000)


@cocotb.test()
async def trap_axi_slverr(dut):
    bench = await begin(dut)
    page = params()["slverr_page"]
    await bench.device.submit(bench.prompt, 1, pages=[page])
    await bench.device.start()
    with pytest.raises(ChipError) as caught:
        async for _ in bench.device.events():
            pass
    assert caught.value.cause == "axi_slverr"
    assert caught.value.addr == bench.map.page_addr(page)


@cocotb.test()
async def trap_axi_decerr(dut):
    bench = await begin(dut)
    beyond = bench.map.offset(bench.map.host_limit) + 4096
    await bench.device.set_register("image_limit", beyond + 0x10000)
    await bench.device.set_register("program_addr", beyond)
    await bench.fails_with("axi_decerr", beyond)


@cocotb.test()
async def trap_page_miss(dut):
    bench = await begin(dut)
    page_len = bench.compiled.config.page_len
    await request_fails(bench, "page_miss", page_len, prompt=[1] * (page_len + 1))


@cocotb.test()
async def trap_too_long(dut):
    bench = await begin(dut)
    length = bench.map.context + 1
    await request_fails(bench, "too_long", length, prompt_len=length)


@cocotb.test()
async def trap_watchdog(dut):
    bench = await begin(dut)
    await bench.device.set_register("watchdog", 8)  # less than the memory's latency
    await bench.fails_with("watchdog", 0)


@cocotb.test()
async def trap_busy_start(dut):
    bench = await begin(dut)
    device = bench.device
    await device.submit(bench.prompt, 1)
    await device.start()
    await device.set_register("control", 1 << CONTROL["start"])
    assert await device.register("error_cause") == ERRORS["busy_start"]
    assert await device.register("irq_status") & 1 << IRQ["error"]
    await device.stop()
    assert [event async for event in device.events()] == []


@cocotb.test()
async def trap_bad_request(dut):
    bench = await begin(dut)
    await request_fails(bench, "bad_request", 0, prompt_len=0)


@cocotb.test()
async def trap_bad_page(dut):
    bench = await begin(dut)
    page = bench.map.page_count
    await request_fails(bench, "bad_page", page, poke=("page_table_addr", page))


@cocotb.test()
async def trap_bad_token(dut):
    bench = await begin(dut)
    token = bench.compiled.shape.vocab
    await request_fails(bench, "bad_token", token, poke=("prompt_addr", token))
