import asyncio
import re

import numpy as np
import pytest

from hw.spec.csr import ERRORS
from hw.spec.presets import preset
from sim.compiler.compile import compile_model
from sim.device.device import WATCHDOG_CYCLES, Device, check_request
from sim.device.error import CAUSES, ChipError, DeviceError
from sim.run.golden_run import run_golden
from tests.sim.fake_chip import FakeChip
from tests.sim.random_model import random_model, small_shape

PROMPT = (3, 14, 15, 9)


@pytest.fixture
def device():
    model = random_model(small_shape(), 2)
    compiled = compile_model(model, preset("tiny"))
    return Device(FakeChip(model, compiled), compiled)


def golden(device, count, **options):
    model = device.transport.model
    return run_golden(model, PROMPT, count, chunk=len(PROMPT), **options).tokens


def test_tokens_are_golden_s(device):
    async def work():
        await device.check()
        await device.load()
        return await device.generate(PROMPT, 7)

    assert asyncio.run(work()) == golden(device, 7)


def test_requests_follow_each_other(device):
    async def work():
        await device.load()
        return [await device.generate(PROMPT, count) for count in (3, 1, 5)]

    assert asyncio.run(work()) == [golden(device, count) for count in (3, 1, 5)]


def test_image_is_pushed(device):
    asyncio.run(device.load())
    expected = np.zeros_like(device.transport.memory)
    device.compiled.fill(expected)
    assert expected.any()
    assert (device.transport.inside == expected).all()


def test_registers_are_those_of_the_memory_map(device):
    asyncio.run(device.load())
    registers = device.transport.registers
    for name, value in device.compiled.memory_map.registers().items():
        assert registers[name] == value
    assert registers["watchdog"] == WATCHDOG_CYCLES


def test_chosen_pages_are_in_the_page_table(device):
    async def work():
        await device.load()
        await device.generate(PROMPT, 2, pages=[1])

    asyncio.run(work())
    assert device.transport.pages == [device.compiled.memory_map.page_addr(1)]


def test_end_of_sequence_is_passed_on(device):
    async def work():
        await device.load()
        return await device.generate(PROMPT, 7, eos_token=golden(device, 1)[0])

    assert asyncio.run(work()) == golden(device, 1)


def test_counters_have_64_bits(device):
    assert asyncio.run(device.counters()) == device.transport.counters


def test_error_comes_after_the_tokens_before_it(device):
    device.transport.fails_after = 3
    seen = []

    async def work():
        await device.load()
        await device.start(PROMPT, 7)
        async for entry in device.tokens():
            seen.append(entry.token)

    message = "page_miss: position 77 has no page in the page table .while 'layer 0 qkv' ran."
    with pytest.raises(ChipError, match=message) as caught:
        asyncio.run(work())
    assert seen == golden(device, 3)
    error = caught.value
    assert (error.cause, error.addr, error.operator) == ("page_miss", 77, "layer 0 qkv")


def test_every_cause_has_a_text():
    assert CAUSES.keys() == ERRORS.keys()
    for name, code in ERRORS.items():
        assert str(ChipError(code, 0x123, 0, "embed")).startswith(f"{name}: ")


def test_unknown_cause_is_shown():
    assert "cause 15: an error this driver does not know" in str(ChipError(15, 0, 0, "embed"))


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("id", 0x1234, "no Serrano chip: id reads 0x00001234"),
        ("version", 0x02000000, "the chip's version reads 0x02000000"),
        ("config0", 0, "compiled for another configuration: config0 reads 0x00000000"),
        ("config2", 1, "max_context | page_len << 16"),
    ],
)
def test_other_chip_is_refused(device, name, value, message):
    device.transport.registers[name] = value
    with pytest.raises(DeviceError) as caught:
        asyncio.run(device.check())
    assert message in str(caught.value)


def test_start_while_busy_is_refused(device):
    async def work():
        await device.load()
        await device.start(PROMPT, 5)
        await device.start(PROMPT, 5)

    with pytest.raises(DeviceError, match="the chip is busy"):
        asyncio.run(work())


def test_too_few_pages_are_refused(device):
    message = "the request needs 2 pages of 32 positions, and 1 were given"
    with pytest.raises(ValueError, match=message):
        asyncio.run(device.start(PROMPT, 30, pages=[0]))


@pytest.mark.parametrize(
    ("prompt", "count", "message"),
    [
        ([], 1, "the prompt must have at least one token"),
        ([1, 96], 1, "token 1 of the prompt must be 0 to 95 (the vocabulary), not 96"),
        ([-1], 1, "token 0 of the prompt must be 0 to 95 (the vocabulary), not -1"),
        ([1], 0, "the number of tokens to write must be at least 1, not 0"),
        ([1] * 65, 1, "the prompt has 65 tokens, and the context has room for 64"),
        ([1] * 60, 6, "must be at most 5 after a prompt of 60 tokens (the context has 64"),
    ],
)
def test_request_is_refused(prompt, count, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        check_request(prompt, count, vocab=96, context=64)


def test_longest_request_is_allowed():
    check_request([1] * 60, 5, vocab=96, context=64)
    check_request([95] * 64, 1, vocab=96, context=64)
