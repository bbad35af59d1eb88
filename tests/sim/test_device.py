"""The driver, on a chip played by the golden model.

Longer than 400 lines: all of it drives the one chip that is set up here.
"""

import asyncio
import re
from dataclasses import replace

import numpy as np
import pytest

from hw.spec.csr import ERRORS
from hw.spec.presets import preset
from hw.spec.requests import Event
from sim.compiler.compile import compile_model
from sim.compiler.memory_map import EVENTS, REQUESTS
from sim.device.device import WATCHDOG_CYCLES, Device
from sim.device.error import CAUSES, ChipError, DeviceError, RequestFailed
from sim.golden.random_model import random_model, small_shape
from sim.golden.sampling import sampling_of
from sim.run.golden_run import run_golden
from tests.sim.fake_chip import FakeChip

PROMPT = (3, 14, 15, 9)
PAGES = 12


@pytest.fixture
def device():
    model = random_model(small_shape(), 2)
    compiled = compile_model(model, preset("tiny"), page_count=PAGES)
    return Device(FakeChip(model, compiled), compiled)


def golden(device, count, prompt=PROMPT, **options):
    return run_golden(device.transport.model, prompt, count, **options).tokens


def prompt_of(length, first=1):
    return tuple((first + 7 * n) % 80 for n in range(length))


async def collect(device, on_event=None):
    """Take events to the end; return tokens and last kind by request."""
    tokens, last = {}, {}
    async for event in device.events():
        if event.kind in ("token", "end"):
            tokens.setdefault(event.request_id, []).append(event.token)
        last[event.request_id] = event.kind
        if on_event:
            await on_event(event)
    return tokens, last


def run(device, work):
    async def loaded():
        await device.load()
        return await work()

    return asyncio.run(loaded())


def test_tokens_are_golden_s(device):
    async def work():
        await device.check()
        return await device.generate(PROMPT, 7)

    assert run(device, work) == golden(device, 7)


def test_runs_follow_each_other(device):
    async def work():
        return [await device.generate(PROMPT, count) for count in (3, 1, 5)]

    assert run(device, work) == [golden(device, count) for count in (3, 1, 5)]


def test_requests_of_a_batch_are_told_apart(device):
    prompts = [prompt_of(length, length) for length in (4, 1, 9, 30, 2, 7)]

    async def work():
        numbers = [await device.submit(prompt, 5) for prompt in prompts]
        assert len(prompts) > device.compiled.config.max_seqs
        await device.start()
        return numbers, await collect(device)

    numbers, (tokens, last) = run(device, work)
    assert numbers == list(range(6))
    assert tokens == {n: golden(device, 5, prompt) for n, prompt in enumerate(prompts)}
    assert set(last.values()) == {"end"}
    assert device.transport.starts == 1
    assert device.pages.free_count == PAGES


def test_request_submitted_while_the_chip_runs_is_taken(device):
    async def work():
        await device.submit(PROMPT, 6)
        await device.start()

        async def on_event(event):
            if (event.request_id, event.position) == (0, len(PROMPT) + 2):
                await device.submit(PROMPT, 3)

        return await collect(device, on_event)

    tokens, _ = run(device, work)
    assert tokens == {0: golden(device, 6), 1: golden(device, 3)}
    assert device.transport.starts == 1


def test_chip_that_had_just_finished_is_started_again(device):
    async def work():
        await device.submit(PROMPT, 2)
        await device.start(max_prefill=3)

        async def on_event(event):
            if event.kind == "end" and event.request_id < 3:
                await device.submit(PROMPT, event.request_id + 2)

        return await collect(device, on_event)

    tokens, _ = run(device, work)
    assert tokens == {n: golden(device, max(2, n + 1)) for n in range(4)}
    assert device.transport.starts == 4
    assert device.transport.registers["max_prefill"] == 3


def test_ring_of_requests_and_of_events_is_used_round_its_end(device):
    first, left = REQUESTS // 4, 2 * REQUESTS

    async def work():
        nonlocal left
        for _ in range(first):
            await device.submit(PROMPT, 4)
        await device.start()

        async def on_event(event):
            nonlocal left
            if event.kind == "end" and left:
                left -= 1
                await device.submit(PROMPT, 4)

        return await collect(device, on_event)

    tokens, last = run(device, work)
    assert len(last) == first + 2 * REQUESTS
    assert 4 * len(last) > EVENTS
    assert all(found == golden(device, 4) for found in tokens.values())
    assert device.transport.starts == 1


def test_too_many_requests_are_refused(device):
    async def work():
        for _ in range(REQUESTS):
            await device.submit(PROMPT, 1, pages=[0])
        with pytest.raises(DeviceError, match=f"{REQUESTS} requests are outstanding: wait"):
            await device.submit(PROMPT, 1, pages=[0])
        await device.start()
        await collect(device)
        await device.submit(PROMPT, 1)

    run(device, work)


@pytest.mark.parametrize("tiles", [1, 4])
def test_image_is_pushed_on_every_channel(tiles):
    model = random_model(small_shape(), 2)
    config = replace(preset("tiny"), tiles=tiles)
    compiled = compile_model(model, config, image_base=0x2000)
    device = Device(FakeChip(model, compiled), compiled)
    asyncio.run(device.load())
    expected = np.zeros_like(device.transport.memory)
    device.compiled.fill(expected)
    assert expected.reshape(tiles, -1).any(axis=1).all()
    assert (device.transport.inside == expected).all()


@pytest.mark.parametrize("one_memory", [False, True])
def test_channels_in_one_memory_are_told_apart(device, one_memory):
    shared = Device(device.transport, device.compiled, one_memory=one_memory)
    asyncio.run(shared.attach())
    stride = device.compiled.memory_map.channel_bytes if one_memory else 0
    assert device.transport.registers["channel_stride"] == stride


def test_registers_are_those_of_the_memory_map(device):
    asyncio.run(device.load())
    registers = device.transport.registers
    for name, value in device.compiled.memory_map.registers().items():
        assert registers[name] == value
    assert registers["watchdog"] == WATCHDOG_CYCLES


def test_chosen_pages_are_in_the_page_table(device):
    run(device, lambda: device.generate(PROMPT, 30, pages=[7, 1]))
    assert device.transport.requests[0]["pages"] == [7, 1]
    assert device.pages.free_count == PAGES


def test_page_is_used_again_after_its_request(device):
    async def work():
        await device.submit(PROMPT, 30)
        await device.submit(PROMPT, 2)
        await device.start()

        async def on_event(event):
            if (event.request_id, event.kind) == (1, "end"):
                await device.submit(PROMPT, 2)

        await collect(device, on_event)

    run(device, work)
    assert [request["pages"] for request in device.transport.requests] == [[0, 1], [2], [2]]


def test_too_few_free_pages_are_refused(device):
    async def work():
        for _ in range(PAGES // 2):
            await device.submit(PROMPT, 30)
        with pytest.raises(DeviceError, match=f"1 pages are needed, and 0 of {PAGES} are free"):
            await device.submit(PROMPT, 1)
        await device.start()
        await collect(device)
        return await device.generate(PROMPT, 1)

    assert run(device, work) == golden(device, 1)


def test_end_of_sequence_is_passed_on(device):
    eos = golden(device, 1)[0]
    assert run(device, lambda: device.generate(PROMPT, 7, eos_token=eos)) == [eos]


def test_tokens_are_drawn_as_the_request_says(device):
    options = [{"temperature": 8.0, "seed": 5}, {"temperature": 8.0, "seed": 6, "top_k": 3}, {}]

    async def work():
        for one in options:
            await device.submit(PROMPT, 9, **one)
        await device.start()
        return await collect(device)

    tokens, _ = run(device, work)
    samplings = [sampling_of(**one, most=device.compiled.config.list_len) for one in options]
    expected = [golden(device, 9, sampling=sampling) for sampling in samplings]
    assert [tokens[number] for number in range(3)] == expected
    assert len({tuple(one) for one in expected}) == 3


def test_candidates_of_the_last_token_are_kept(device):
    prompts = [prompt_of(length) for length in (4, 5, 6)]

    async def work():
        for count, prompt in enumerate(prompts):
            await device.submit(prompt, 3, report=4 * count)
        await device.start()
        seen = []

        async def on_event(event):
            if event.request_id == 2:
                seen.append(device.candidates(2))

        await collect(device, on_event)
        with pytest.raises(ValueError, match="request 0 has reported no candidates"):
            device.candidates(0)
        found = [device.candidates(1), device.candidates(2)]
        for _ in range(REQUESTS):
            await device.submit(PROMPT, 1, pages=[0], report=1)
        await device.start()
        await collect(device)
        with pytest.raises(ValueError, match="request 1 has reported no candidates"):
            device.candidates(1)
        return seen, found

    seen, found = run(device, work)
    expected = [
        run_golden(device.transport.model, prompt, 3, report=4 * count).candidates
        for count, prompt in enumerate(prompts)
    ]
    assert found == [expected[1][-1], expected[2][-1]]
    assert seen == expected[2]
    assert [len(one) for one in found] == [4, 8]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"top_k": 9}, "top_k must be 1 to 8 (what the chip keeps), not 9"),
        ({"report": 9}, "report must be 0 to 8 (what the chip keeps), not 9"),
        ({"report": -1}, "report must be 0 to 8 (what the chip keeps), not -1"),
        ({"temperature": 200}, "temperature must be 1/128 to 128, not 200"),
    ],
)
def test_sampling_that_makes_no_sense_is_refused(device, options, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        asyncio.run(device.submit(PROMPT, 1, **options))
    assert not device.outstanding


def test_prefix_is_computed_once_and_shared(device):
    prompts = [prompt_of(40) + (n, n + 1) for n in range(3)]

    async def work():
        prefix = await device.keep(prompt_of(40))
        assert (prefix.tokens, prefix.pages) == (prompt_of(32), (0,))
        for prompt in prompts:
            await device.submit(prompt, 4, prefix=prefix)
        await device.start()
        tokens, _ = await collect(device)
        assert device.pages.free_count == PAGES - 1
        device.drop(prefix)
        return tokens

    tokens = run(device, work)
    assert tokens == {n + 1: golden(device, 4, prompt) for n, prompt in enumerate(prompts)}
    first, *others = device.transport.requests
    assert (first["prompt_len"], first["start_pos"], first["max_tokens"]) == (32, 0, 1)
    for number, request in enumerate(others):
        assert (request["start_pos"], request["shared_pages"]) == (32, 1)
        assert request["pages"] == [0, number + 1]
        assert request["prompt_len"] == 10
    assert device.pages.free_count == PAGES


def test_prompt_that_is_its_prefix_computes_its_last_page(device):
    async def work():
        prefix = await device.keep(prompt_of(32))
        await device.submit(prompt_of(32), 2, prefix=prefix)
        await device.start()
        return await collect(device)

    tokens, _ = run(device, work)
    assert tokens == {1: golden(device, 2, prompt_of(32))}
    assert device.transport.requests[1]["shared_pages"] == 0


def test_dropped_prefix_stays_until_its_requests_end(device):
    async def work():
        prefix = await device.keep(prompt_of(32))
        await device.submit(prompt_of(33), 2, prefix=prefix)
        device.drop(prefix)
        assert device.pages.free_count == PAGES - 2
        await device.start()
        await collect(device)

    run(device, work)
    assert device.pages.free_count == PAGES


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"start_pos": 3}, "start_pos and shared_pages must come with pages"),
        ({"shared_pages": 1}, "start_pos and shared_pages must come with pages"),
        ({"start_pos": -1, "pages": [0]}, "start_pos must not be negative, not -1"),
        ({"start_pos": 31, "shared_pages": 1, "pages": [0, 1]}, "shared_pages must be 0 to 0"),
        ({"start_pos": 61, "pages": [0, 1]}, "has 4 tokens, and the context has room for 3"),
        ({"start_pos": 32, "pages": [0]}, "needs 2 pages of 32 positions, and 1 were given"),
    ],
)
def test_pages_that_make_no_sense_are_refused(device, options, message):
    with pytest.raises(ValueError, match=message):
        asyncio.run(device.submit(PROMPT, 1, **options))


def test_prefix_that_makes_no_sense_is_refused(device):
    async def work():
        with pytest.raises(ValueError, match=r"fill a page .32 tokens. at least, not 31 tokens"):
            await device.keep(prompt_of(31))
        prefix = await device.keep(prompt_of(32))
        with pytest.raises(ValueError, match="must begin with the tokens of its prefix"):
            await device.submit((*prompt_of(31), 0, 0), 1, prefix=prefix)
        with pytest.raises(ValueError, match="pages must not come with a prefix"):
            await device.submit(prompt_of(40), 1, prefix=prefix, pages=[0, 1])

    run(device, work)


def test_failed_request_leaves_others_alone(device):
    async def work():
        await device.submit(PROMPT, 5)
        await device.submit_unchecked(PROMPT, [0], page_count=3)
        await device.submit(PROMPT, 3)
        at = device.compiled.memory_map.offset(device.compiled.memory_map.page_table_addr(1))
        device.transport.inside[at : at + 12].view("<u4")[:] = (0, 99, 1)
        await device.start()
        return await collect(device)

    tokens, last = run(device, work)
    assert tokens == {0: golden(device, 5), 2: golden(device, 3)}
    assert last == {0: "end", 1: "failed", 2: "end"}


def test_failed_request_is_an_error_of_generate(device):
    async def work():
        device.transport.registers["kv_pages"] = 3
        with pytest.raises(RequestFailed) as caught:
            await device.generate(PROMPT, 2, pages=[5])
        assert await device.generate(PROMPT, 2, pages=[2]) == golden(device, 2)
        return caught.value

    error = run(device, work)
    assert (error.request_id, error.cause, error.detail) == (0, "bad_page", 5)
    assert str(error).startswith("request 0: bad_page: page 5 is outside the KV region")


def test_request_is_withdrawn(device):
    async def work():
        for _ in range(6):
            await device.submit(PROMPT, 6)
        await device.start()

        async def on_event(event):
            if (event.request_id, event.position) == (0, len(PROMPT) + 1):
                for number in (2, 0, 5):  # one by one: the chip remembers one
                    await device.cancel(number)

        return await collect(device, on_event)

    tokens, last = run(device, work)
    assert [last[n] for n in range(6)] == [
        "cancelled", "end", "cancelled", "end", "end", "cancelled",
    ]  # fmt: skip
    for found in tokens.values():
        assert found == golden(device, 6)[: len(found)]
    assert device.pages.free_count == PAGES


def test_request_withdrawn_before_the_start_ends_too(device):
    async def work():
        number = await device.submit(PROMPT, 6)
        await device.cancel(number)
        await device.start()
        last = (await collect(device))[1]
        await device.cancel(number)  # nothing happens
        return last

    assert run(device, work) == {0: "cancelled"}


def test_stop_forgets_all_requests(device):
    async def work():
        for _ in range(6):
            await device.submit(PROMPT, 6)
        await device.start()
        async for event in device.events():
            if event.position == len(PROMPT) + 2:
                await device.stop()
        assert device.pages.free_count == PAGES
        return await device.generate(PROMPT, 3)

    assert run(device, work) == golden(device, 3)


def test_counters_have_64_bits(device):
    assert asyncio.run(device.counters()) == device.transport.counters


def test_error_comes_after_the_events_before_it(device):
    device.transport.fails_after = 3
    seen = []

    async def work():
        await device.submit(PROMPT, 7)
        await device.start()
        async for event in device.events():
            seen.append(event.token)

    message = "axi_slverr: the memory answered .* with SLVERR .while 'layer 0 qkv' ran."
    with pytest.raises(ChipError, match=message) as caught:
        run(device, work)
    assert seen == golden(device, 3)
    error = caught.value
    assert (error.cause, error.addr, error.operator) == ("axi_slverr", 77, "layer 0 qkv")
    assert device.pages.free_count == PAGES
    device.transport.fails_after = None
    assert asyncio.run(device.generate(PROMPT, 2)) == golden(device, 2)


def test_every_cause_has_a_text():
    assert CAUSES.keys() == ERRORS.keys()
    for name, code in ERRORS.items():
        assert str(ChipError(code, 0x123, 0, "embed")).startswith(f"{name}: ")
        event = Event(7, 0, 0, "failed", code, 0, 0x123)
        assert str(RequestFailed(event)).startswith(f"request 7: {name}: ")


def test_unknown_cause_is_shown():
    assert "cause 15: an error this driver does not know" in str(ChipError(15, 0, 0, "embed"))


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("id", 0x1234, "no Serrano chip: id reads 0x00001234"),
        ("version", 0x03000000, "the chip's version reads 0x03000000"),
        ("config0", 0, "compiled for another configuration: config0 reads 0x00000000"),
        ("config2", 1, "max_context | page_len << 16"),
        ("config4", 1, "max_seqs | kv_pages << 16"),
    ],
)
def test_other_chip_is_refused(device, name, value, message):
    device.transport.registers[name] = value
    with pytest.raises(DeviceError) as caught:
        asyncio.run(device.check())
    assert message in str(caught.value)


def test_start_while_busy_is_refused(device):
    async def work():
        await device.submit(PROMPT, 5)
        await device.start()
        await device.start()

    with pytest.raises(DeviceError, match="the chip is busy"):
        run(device, work)


@pytest.mark.parametrize("call", ["generate", "keep"])
def test_one_request_alone_must_be_alone(device, call):
    async def work():
        await device.submit(PROMPT, 5)
        await (device.generate(PROMPT, 1) if call == "generate" else device.keep(prompt_of(32)))

    with pytest.raises(DeviceError, match="other requests are outstanding"):
        run(device, work)


def test_request_that_does_not_fit_is_refused_before_anything_is_taken(device):
    message = re.escape("token 1 of the prompt must be 0 to 79 (the vocabulary), not 80")
    with pytest.raises(ValueError, match=message):
        run(device, lambda: device.submit((1, 80), 1))
    assert device.pages.free_count == PAGES
