"""Bench for `hw.scheduler`: the chip around it is played, and every pass compared."""

import random

import cocotb
from cocotb.triggers import ReadOnly, RisingEdge

from hw.spec.csr import ERRORS
from hw.spec.requests import REQUEST_BYTES
from tests.hw.scheduler_surroundings import (
    CANDIDATES,
    CONFIG,
    CONTEXT,
    HOST_LIMIT,
    PROMPTS,
    REQUESTS,
    TOP,
    VOCAB,
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
    around = Surroundings(dut, rng, stall, max_prefill=rng.choice((0, 1, 3, TOP)))
    free = list(range(CONFIG.kv_pages))
    for _ in range(rng.randrange(2, 3 * CONFIG.max_seqs + 2)):
        prompt_len = rng.choice((1, 2, CONFIG.max_rows, rng.randrange(1, 3 * CONFIG.max_rows)))
        max_tokens = rng.randrange(1, 8)
        request = {
            "prompt_len": prompt_len,
            "max_tokens": max_tokens,
            "pages": pages_for(rng, free, prompt_len + max_tokens),
        }
        if rng.random() < 0.3:
            request["eos_token"] = rng.randrange(4)
        around.add(**request)
    around.choose = lambda run: rng.randrange(8) if rng.random() < 0.5 else rng.randrange(VOCAB)
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


@cocotb.test()
@cocotb.parametrize(
    changes=[
        ({"prompt_len": 0, "prompt": []}, "bad_request", 0),
        ({"max_tokens": 0}, "bad_request", 0),
        ({"page_count": 0}, "bad_request", 0),
        ({"page_count": CONFIG.max_pages + 1}, "bad_request", CONFIG.max_pages + 1),
        ({"shared_pages": 1, "start_pos": CONFIG.page_len - 1}, "bad_request", 1),
        (
            {"start_pos": TOP, "prompt_len": TOP},
            "too_long",
            (2 * TOP) % (1 << 32),
        ),
        (
            {"start_pos": CONTEXT, "prompt_len": 1, "pages": MOST_PAGES},
            "too_long",
            CONTEXT + 1,
        ),
        (
            {"start_pos": CONTEXT - 1, "prompt_len": 1, "pages": MOST_PAGES},
            "too_long",
            CONTEXT,
        ),
        ({"prompt_len": CONFIG.page_len + 1}, "page_miss", CONFIG.page_len),
        *(
            ({field: addr, "pages": [8, 9], "prompt_len": 2}, "bad_request", addr)
            for field in ("prompt_addr", "page_table_addr")
            for addr in (0, REQUESTS - 8, PROMPTS + 1, PROMPTS + 2, HOST_LIMIT - 4, TOP - 3)
        ),
        *(({"top_k": k}, "bad_request", k) for k in (0, CONFIG.list_len + 1, 255)),
        *(({"report_count": n}, "bad_request", n) for n in (CONFIG.list_len + 1, 255)),
        *(({"shift": shift}, "bad_request", shift) for shift in (32, 255)),
        *(
            ({"candidates_addr": addr, "report_count": 2}, "bad_request", addr)
            for addr in (0, REQUESTS - 8, CANDIDATES + 4, HOST_LIMIT - 8, TOP - 7)
        ),
        ({"pages": [CONFIG.kv_pages]}, "bad_page", CONFIG.kv_pages),
        ({"pages": [TOP]}, "bad_page", TOP),
        ({"pages": [3, 3]}, "bad_page", 3),
        ({"pages": [2]}, "bad_page", 2),
        ({"prompt": [1, 2, VOCAB, 3, TOP]}, "bad_token", VOCAB),
        (
            {"prompt_len": CONFIG.page_len, "max_tokens": 2},
            "page_miss",
            CONFIG.page_len,
        ),
    ]
)
async def a_bad_request_ends_alone(dut, changes):
    """Its neighbours, one before and one after it, are not touched."""
    fields, cause, detail = changes
    around = Surroundings(dut, random.Random(5), "never", requests_written=3)
    around.add(pages=[2], max_tokens=12)
    around.add(**fields)
    around.add(pages=[5], max_tokens=4)
    await around.begin()
    await around.ends()
    failed = [event for event in around.events if event["kind"] == "failed"]
    assert [(event["request_id"], event["cause"], event["detail"]) for event in failed] == [
        (1001, ERRORS[cause], detail)
    ]
    done = [event["request_id"] for event in around.events if event["kind"] == "end"]
    assert sorted(done) == [1000, 1002]


@cocotb.test()
async def what_a_request_names_may_reach_the_end_of_its_region(dut):
    around = Surroundings(dut, random.Random(7), "never", requests_written=3)
    around.add(prompt_addr=HOST_LIMIT - 8, prompt_len=2)
    around.add(page_table_addr=HOST_LIMIT - 16, pages=[8, 9])
    around.add(
        page_table_addr=REQUESTS + 3 * REQUEST_BYTES,
        report_count=CONFIG.list_len,
        candidates_addr=HOST_LIMIT - 8 * CONFIG.list_len,
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
    around.add(pages=[4, 7], prompt_len=length + 1, max_tokens=1)
    await around.begin()
    await around.ends()
    kinds = {e["request_id"]: e["kind"] for e in around.events if e["kind"] != "token"}
    count = min(CONFIG.max_seqs, 6)
    if count >= 3:
        assert kinds[1002] == kinds[1003] == "failed"
    assert kinds[1000] == kinds[1001] == kinds[1004] == "end"


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
    around.registers["cancel_id"] = 1000 + victim
    await around.begin()
    for _ in range(rng.randrange(300)):
        await RisingEdge(dut.clk)
    dut.cancel.value = 1
    await RisingEdge(dut.clk)
    dut.cancel.value = 0
    await around.ends()
    last = {e["request_id"]: e["kind"] for e in around.events if e["kind"] != "token"}
    assert last.pop(1000 + victim) in ("cancelled", "end")
    assert set(last.values()) == {"end"}


@cocotb.test()
@cocotb.parametrize(others=[0, 1])
async def a_withdrawal_of_what_is_over_does_not_wait_for_its_number(dut, others):
    """Nor does it meet a request of the same number that is written after it."""
    around = Surroundings(dut, random.Random(others), "never", requests_written=1 + others)
    around.add(pages=[0], max_tokens=1)
    for index in range(others):
        around.add(pages=[1 + index], max_tokens=20)
    around.registers["cancel_id"] = 1000
    await around.begin()
    while not around.events or around.events[-1]["request_id"] != 1000:
        await RisingEdge(dut.clk)
    dut.cancel.value = 1
    await RisingEdge(dut.clk)
    dut.cancel.value = 0
    if others:
        passes = len(around.passes)
        while len(around.passes) < passes + 3:
            await RisingEdge(dut.clk)
    around.add(pages=[2], request_id=1000, max_tokens=2)
    dut.requests_written.value = len(around.requests)
    await around.ends()
    ends = [e["request_id"] for e in around.events if e["kind"] == "end"]
    assert sorted(ends) == [1000, 1000, 1001][: 2 + others]
    assert "cancelled" not in [e["kind"] for e in around.events]


@cocotb.test()
async def a_withdrawal_waits_for_a_request_that_waits(dut):
    """All slots are taken; the last of the ring is withdrawn, and its number may come again."""
    count = CONFIG.max_seqs + 2
    around = Surroundings(dut, random.Random(4), "never", requests_written=count)
    for index in range(count):
        around.add(pages=[index], max_tokens=4)
    victim = 1000 + count - 1
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


@cocotb.test()
@cocotb.parametrize(name=["request_ring_len", "event_ring_len"], length=[0, 3, 12])
async def rings_that_are_no_power_of_two_are_refused(dut, name, length):
    around = Surroundings(dut, random.Random(1), "never", **{name: length})
    await around.begin()
    while True:
        await ReadOnly()
        if dut.error.value:
            break
        await RisingEdge(dut.clk)
    assert int(dut.error_cause.value) == ERRORS["bad_request"]
    assert int(dut.error_addr.value) == length
