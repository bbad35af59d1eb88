"""Bench for `hw.scheduler`: the chip around it is played, and every pass compared."""

import random

import cocotb
from cocotb.triggers import ReadOnly, RisingEdge

from hw.lib.axi import PAGE_BYTES
from hw.spec.csr import ERRORS
from hw.spec.requests import REQUEST_BYTES
from tests.hw.scheduler_surroundings import (
    CANDIDATES,
    CONFIG,
    CONTEXT,
    HOST_BYTES,
    PROMPTS,
    TOP,
    Surroundings,
)
from tests.support.bench import STALLS, params

SEEDS = params()["seeds"]
MOST_PAGES = list(range(8, 8 + CONFIG.max_pages))


def pages_for(rng, free, positions):
    count = -(-positions // CONFIG.page_len)
    return [free.pop(rng.randrange(len(free))) for _ in range(count)]


@cocotb.test()
@cocotb.parametrize(stall=list(STALLS), seed=range(SEEDS))
async def many_requests_share_passes_as_slow_code_says(dut, stall, seed):
    """Random prompts and limits, more requests than slots; they come in bunches."""
    print(f"seed {seed}")
    rng = random.Random(seed)
    around = Surroundings(
        dut,
        rng,
        stall,
        max_prefill=rng.choice((0, 1, 3, TOP, rng.randrange(1, 1 << 32))),
        context=rng.choice((CONTEXT, rng.randrange(CONTEXT, 1 << 32))),
    )
    free = list(range(CONFIG.kv_pages))
    for _ in range(rng.randrange(2, 3 * CONFIG.max_seqs + 2)):
        prompt_len = rng.choice((1, 2, CONFIG.max_rows, rng.randrange(1, 3 * CONFIG.max_rows)))
        max_tokens = rng.randrange(1, 8)
        request = {"prompt_len": prompt_len, "max_tokens": max_tokens}
        if rng.random() < 0.5 and len(free) > 16 * CONFIG.max_pages:
            request["start_pos"] = rng.randrange(CONTEXT - prompt_len - max_tokens)
        positions = request.get("start_pos", 0) + prompt_len + max_tokens
        request["pages"] = pages_for(rng, free, positions)
        if rng.random() < 0.5:  # it ends itself, perhaps since it has no page left
            request["eos_token"] = rng.choice((rng.randrange(4), rng.randrange(around.vocab)))
            request["max_tokens"] = rng.getrandbits(32) or 1
        if rng.random() < 0.2:
            request["prompt"] = [rng.randrange(around.vocab) for _ in range(prompt_len)]
            request["prompt"][rng.randrange(prompt_len)] = rng.randrange(around.vocab, 1 << 32)
        around.add(**request)

    def choose(run):
        likely = rng.randrange(8) if rng.random() < 0.5 else run["eos_token"]
        return (
            likely if likely < around.vocab and rng.random() < 0.6 else rng.randrange(around.vocab)
        )

    around.choose = choose
    first = rng.randrange(1, len(around.requests) + 1)
    around.registers["requests_written"] = first
    await around.begin()
    for written in range(first, len(around.requests) + 1):
        for _ in range(rng.randrange(200)):
            await RisingEdge(dut.clk)
        if not dut.busy.value:
            return  # everything written before was done: the host would start again
        dut.requests_written.value = written
    await around.ends()
    assert around.taken == len(around.requests)
    assert max(len(segments) for _, segments in around.passes) > 1 or len(around.requests) == 1


def outside(field, others, entry_bytes):
    """Return what names a list of two entries that is misplaced, once for each way of it."""
    first = {"prompt_addr": PROMPTS, "candidates_addr": CANDIDATES}.get(field, 0)
    addrs = [
        lambda around: 0,
        lambda around: around.host - 8,
        lambda around: around.host + first + entry_bytes // 2,
        lambda around: around.host + first + 1,
        lambda around: around.host + HOST_BYTES - entry_bytes,
        lambda around: TOP + 1 - entry_bytes,
    ]
    return [({field: addr, **others}, "bad_request", addr) for addr in addrs]


#: Fields, and cause and detail of the failure. Numbers may be functions of the surroundings.
BAD_REQUESTS = [
    ({"prompt_len": 0, "prompt": []}, "bad_request", 0),
    ({"max_tokens": 0}, "bad_request", 0),
    ({"page_count": 0}, "bad_request", 0),
    ({"page_count": CONFIG.max_pages + 1}, "bad_request", CONFIG.max_pages + 1),
    ({"shared_pages": 1, "start_pos": CONFIG.page_len - 1}, "bad_request", 1),
    ({"start_pos": TOP, "prompt_len": TOP}, "too_long", (2 * TOP) % (1 << 32)),
    ({"start_pos": CONTEXT, "prompt_len": 1, "pages": MOST_PAGES}, "too_long", CONTEXT + 1),
    ({"start_pos": CONTEXT - 1, "prompt_len": 1, "pages": MOST_PAGES}, "too_long", CONTEXT),
    ({"prompt_len": CONFIG.page_len + 1}, "page_miss", CONFIG.page_len),
    *outside("prompt_addr", {"prompt_len": 2}, 4),
    *outside("page_table_addr", {"pages": [8, 9]}, 4),
    *(({"top_k": k}, "bad_request", k) for k in (0, CONFIG.list_len + 1, 255)),
    *(({"report_count": n}, "bad_request", n) for n in (CONFIG.list_len + 1, 255)),
    *(({"shift": shift}, "bad_request", shift) for shift in (32, 255)),
    *outside("candidates_addr", {"report_count": 2}, 8),
    ({"pages": [CONFIG.kv_pages]}, "bad_page", CONFIG.kv_pages),
    ({"pages": [TOP]}, "bad_page", TOP),
    ({"pages": [3, 3]}, "bad_page", 3),
    ({"pages": [2]}, "bad_page", 2),
    (
        {"prompt": lambda around: [1, 2, around.vocab, 3, TOP]},
        "bad_token",
        lambda around: around.vocab,
    ),
    (
        {"start_pos": CONFIG.page_len - 2, "prompt_len": 2, "max_tokens": 2},
        "page_miss",
        CONFIG.page_len,
    ),
]


@cocotb.test()
@cocotb.parametrize(case=range(len(BAD_REQUESTS)))
async def a_bad_request_ends_alone(dut, case):
    """Its neighbours, one before and one after it, are not touched."""
    print(f"seed {case}")
    fields, cause, detail = BAD_REQUESTS[case]
    around = Surroundings(dut, random.Random(case), "never", requests_written=3)

    def here(value):
        return value(around) if callable(value) else value

    around.add(pages=[2], max_tokens=12)
    around.add(**{name: here(value) for name, value in fields.items()})
    around.add(pages=[5], max_tokens=4)
    await around.begin()
    await around.ends()
    failed = [event for event in around.events if event["kind"] == "failed"]
    assert [(event["request_id"], event["cause"], event["detail"]) for event in failed] == [
        (around.number(1), ERRORS[cause], here(detail))
    ]
    done = [event["request_id"] for event in around.events if event["kind"] == "end"]
    assert sorted(done) == sorted([around.number(0), around.number(2)])


@cocotb.test()
@cocotb.parametrize(seed=range(8))
async def garbage_fails_alone(dut, seed):
    """Fields that hold anything; the events say what was wrong, as slow code does."""
    print(f"seed {seed}")
    rng = random.Random(seed)
    around = Surroundings(dut, rng, "never", requests_written=16, context=rng.getrandbits(32))
    flipped = {}
    for index in range(16):
        fields = {name: ~value % (1 << 32) for name, value in flipped.items()}
        flipped = {}
        if not fields:
            names = ("max_tokens", "eos_token", "start_pos", "prompt_len", "prompt_addr")
            fields = flipped = {name: rng.getrandbits(32) for name in names}
        around.add(**fields, pages=[index], prompt=[0] * 8)
    await around.begin()
    await around.ends()
    assert [event["kind"] for event in around.events] == ["failed"] * 16


@cocotb.test()
async def what_a_request_names_may_reach_the_end_of_its_region(dut):
    around = Surroundings(dut, random.Random(7), "never", requests_written=3)
    end = around.host + HOST_BYTES
    around.add(prompt_addr=end - 8, prompt_len=2)
    around.add(page_table_addr=end - 16, pages=[8, 9])
    around.add(
        page_table_addr=around.host + 3 * REQUEST_BYTES,
        report_count=CONFIG.list_len,
        candidates_addr=end - 8 * CONFIG.list_len,
    )
    await around.begin()
    await around.ends()
    assert [e["kind"] for e in around.events if e["kind"] != "token"] == ["end"] * 3


@cocotb.test()
async def pages_are_shared_by_readers_and_by_nobody_else(dut):
    around = Surroundings(dut, random.Random(6), "at_random", requests_written=6)
    length = CONFIG.page_len
    shared = {"start_pos": length, "shared_pages": 1, "prompt_len": 2}
    around.add(pages=[7, 1], **shared, max_tokens=3)
    around.add(pages=[7, 2], **shared, max_tokens=3)
    around.add(pages=[7], max_tokens=1)  # would write what others read
    around.add(pages=[1], max_tokens=1)  # another's own page
    around.add(pages=[7, 3], **shared, max_tokens=1)
    around.add(pages=[4, 7], start_pos=length - 1, prompt_len=2, max_tokens=1)
    await around.begin()
    await around.ends()
    last = {e["request_id"]: e["kind"] for e in around.events if e["kind"] != "token"}
    kinds = [last[around.number(index)] for index in range(6)]
    count = min(CONFIG.max_seqs, 6)
    if count >= 3:
        assert kinds[2] == kinds[3] == "failed"
    assert kinds[0] == kinds[1] == kinds[4] == "end"


@cocotb.test()
@cocotb.parametrize(seed=range(2))
async def long_prompts_are_withdrawn(dut, seed):
    """Positions over all the model's context, and lengths over all that fits into memory."""
    print(f"seed {seed}")
    rng = random.Random(seed)
    count, host = 12, 64 * (1 + seed)
    around = Surroundings(
        dut,
        rng,
        "never",
        host=host,
        requests_written=count,
        host_limit=TOP + 1 - 64,
        max_prefill=1,  # or a prompt's words would have to be written all
    )
    for index in range(count):
        end = rng.randrange(CONTEXT // 2, CONTEXT + 1)
        most = min(end, (TOP - 64 - host - PROMPTS - 0x1000 * count) // 4)
        length = 1 + rng.randrange(most // 2) + (most // 2 if index % 2 else 0)
        if index % 4 < 2 and length > 1 << 20:  # it would end at once if upper bits were lost
            length -= length % (1 << 20) - 1
        pages = [CONFIG.max_pages * index + n for n in range(CONFIG.max_pages)]
        around.add(
            start_pos=end - length, prompt_len=length, pages=pages, max_tokens=rng.getrandbits(32)
        )
    await around.begin()
    left = list(range(count))
    while left:  # one of those that have slots
        index = left.pop(rng.randrange(min(len(left), CONFIG.max_seqs)))
        for _ in range(rng.randrange(40)):
            await RisingEdge(dut.clk)
        dut.cancel_id.value = around.number(index)
        dut.cancel.value = 1
        await RisingEdge(dut.clk)
        dut.cancel.value = 0
        while not any(event["request_id"] == around.number(index) for event in around.events):
            assert dut.busy.value
            await RisingEdge(dut.clk)
    await around.ends()
    kinds = {event["kind"] for event in around.events}
    assert "cancelled" in kinds
    assert len(around.events) >= count


@cocotb.test()
@cocotb.parametrize(seed=range(SEEDS + 2))
async def a_request_is_withdrawn_and_the_others_go_on(dut, seed):
    print(f"seed {seed}")
    rng = random.Random(seed)
    around = Surroundings(dut, rng, "one_in_four")
    for index in range(4):
        around.add(pages=[index], prompt_len=rng.randrange(1, 9), max_tokens=8)
    around.registers["requests_written"] = 4
    victim = rng.randrange(4)
    around.registers["cancel_id"] = around.number(victim)
    await around.begin()
    for _ in range(rng.randrange(300)):
        await RisingEdge(dut.clk)
    dut.cancel.value = 1
    await RisingEdge(dut.clk)
    dut.cancel.value = 0
    await around.ends()
    last = {e["request_id"]: e["kind"] for e in around.events if e["kind"] != "token"}
    assert last.pop(around.number(victim)) in ("cancelled", "end")
    assert set(last.values()) == {"end"}


@cocotb.test()
@cocotb.parametrize(others=[0, 1])
async def a_withdrawal_of_what_is_over_does_not_wait_for_its_number(dut, others):
    """Nor does it meet a request of the same number that is written after it."""
    around = Surroundings(dut, random.Random(others), "never", requests_written=1 + others)
    around.add(pages=[0], max_tokens=1)
    for index in range(others):
        around.add(pages=[1 + index], max_tokens=20)
    first = around.number(0)
    around.registers["cancel_id"] = first
    await around.begin()
    while not around.events or around.events[-1]["request_id"] != first:
        await RisingEdge(dut.clk)
    dut.cancel.value = 1
    await RisingEdge(dut.clk)
    dut.cancel.value = 0
    if others:
        passes = len(around.passes)
        while len(around.passes) < passes + 3:
            await RisingEdge(dut.clk)
    around.add(pages=[2], request_id=first, max_tokens=2)
    dut.requests_written.value = len(around.requests)
    await around.ends()
    ends = [e["request_id"] for e in around.events if e["kind"] == "end"]
    assert sorted(ends) == sorted([first, first, around.number(1)][: 2 + others])
    assert "cancelled" not in [e["kind"] for e in around.events]


@cocotb.test()
async def a_withdrawal_waits_for_a_request_that_waits(dut):
    """All slots are taken; the last of the ring is withdrawn, and its number may come again."""
    count = CONFIG.max_seqs + 2
    around = Surroundings(dut, random.Random(4), "never", requests_written=count)
    for index in range(count):
        around.add(pages=[index], max_tokens=4)
    victim = around.number(count - 1)
    around.registers["cancel_id"] = victim
    await around.begin()
    while not around.passes:
        await RisingEdge(dut.clk)
    dut.cancel.value = 1
    around.add(pages=[count], request_id=victim, max_tokens=2)
    await RisingEdge(dut.clk)
    dut.cancel.value = 0
    dut.requests_written.value = count + 1
    await around.ends()
    last = [e["kind"] for e in around.events if e["request_id"] == victim]
    assert last == ["cancelled", "token", "end"]


@cocotb.test()
async def a_full_ring_of_events_waits_for_the_host(dut):
    around = Surroundings(dut, random.Random(2), "never", requests_written=1, event_ring_len=1)
    around.add(max_tokens=4)
    around.patience = 300
    await around.begin()
    stalled = 0
    for _ in range(3000):
        await ReadOnly()
        stalled += int(dut.stalled.value)
        await RisingEdge(dut.clk)
    await around.ends()
    assert stalled > 0
    assert len(around.events) == 4


async def is_refused(around):
    """Return the address of the error with which the unit ends at once."""
    await around.begin()
    while True:
        await ReadOnly()
        if around.dut.error.value:
            break
        await RisingEdge(around.dut.clk)
    return int(around.dut.error_addr.value)


@cocotb.test()
@cocotb.parametrize(
    name=["request_ring_len", "event_ring_len"], length=[0, 3, 12, 0xA5A5_5A5A, 0x5A5A_A5A5]
)
async def rings_that_are_no_power_of_two_are_refused(dut, name, length):
    around = Surroundings(dut, random.Random(1), "never", **{name: length})
    assert await is_refused(around) == length


@cocotb.test()
@cocotb.parametrize(seed=range(4))
async def channels_that_begin_within_a_page_are_refused(dut, seed):
    """By their distance, whatever it is else; every second time all its bits are turned."""
    print(f"seed {seed}")
    stride = random.Random(seed // 2).getrandbits(32) ^ (TOP if seed % 2 else 0)
    if seed >= 2:
        stride = stride & ~(PAGE_BYTES - 1) | 1 << (seed % 2 * 11)  # one bit too many
    around = Surroundings(dut, random.Random(seed), "never", channel_stride=stride)
    assert await is_refused(around) == stride
