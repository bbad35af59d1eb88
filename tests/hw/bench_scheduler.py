"""Bench for `hw.scheduler`: the chip around it is played, and every pass compared."""

import random

import cocotb
from cocotb.triggers import ReadOnly, RisingEdge

from hw.event_writer import event_layout
from hw.jobs import draw_layout, sampling_layout, segment_layout
from hw.scheduler import Scheduler
from hw.spec.config import ArchConfig
from hw.spec.csr import ERRORS
from hw.spec.requests import EVENT_BYTES, EVENT_KINDS, REQUEST_BYTES, encode_request
from tests.hw.slow_scheduler import SlowScheduler
from tests.support.bench import (
    STALLS,
    collects,
    obeys_rules,
    params,
    sends,
    start,
    unpack,
    watchdog,
)

CONFIG = ArchConfig(**params()["config"])
SEEDS = params()["seeds"]
FETCH = Scheduler(CONFIG).o_fetch.payload.shape()
TOP = (1 << 32) - 1
KV_BASE, PAGE_BYTES = 0x4000_0000, 0x1000
REQUESTS, PROMPTS, TABLES, EVENTS = 0x1_0000, 0x10_0000, 0x20_0000, 0x30_0000
CANDIDATES = 0x30_8000
SAMPLING = [name for name, _ in sampling_layout(CONFIG)]
HOST_LIMIT = 0x31_0000
RING, VOCAB = 32, 500
CONTEXT = CONFIG.max_context - 5
NO_EOS = TOP
MOST_PAGES = list(range(8, 8 + CONFIG.max_pages))


class Surroundings:
    """Memory, program and event writer around the unit; checks what it does as it does it."""

    def __init__(self, dut, rng, stall, **registers):
        self.dut, self.rng = dut, rng
        self.patience = 0  # cycles in which the host leaves an event in the ring
        self.idle = STALLS[stall]()
        self.registers = {
            "request_ring_addr": REQUESTS,
            "request_ring_len": RING,
            "requests_written": 0,
            "event_ring_addr": EVENTS,
            "event_ring_len": 8,
            "events_read": 0,
            "cancel_id": 0,
            "kv_base": KV_BASE,
            "page_bytes": PAGE_BYTES,
            "kv_pages": CONFIG.kv_pages,
            "host_base": REQUESTS,
            "host_limit": HOST_LIMIT,
            "vocab": VOCAB,
            "context": CONTEXT,
            "max_prefill": 0,
        } | registers
        names = SlowScheduler.REGISTERS
        self.model = SlowScheduler(CONFIG, **{name: self.registers[name] for name in names})
        self.memory, self.requests, self.table = {}, [], {}
        self.taken = 0
        self.events, self.passes = [], []
        self.choose = lambda run: rng.randrange(VOCAB)

    def add(self, **changes):
        """Write a request into memory; it is taken once ``requests_written`` says so."""
        index = len(self.requests)
        request = {
            "request_id": 1000 + index,
            "prompt_addr": PROMPTS + 0x1000 * index,
            "prompt_len": 5,
            "max_tokens": 3,
            "eos_token": NO_EOS,
            "start_pos": 0,
            "page_table_addr": TABLES + 0x400 * index,
            "page_count": 1,
            "shared_pages": 0,
        }
        request |= self.sampling()
        pages = changes.pop("pages", [index])
        prompt = changes.pop("prompt", None)
        request |= {"page_count": len(pages)} | changes
        if prompt is None:
            prompt = [self.rng.randrange(VOCAB) for _ in range(min(request["prompt_len"], 600))]
        raw = encode_request(**request)
        at = REQUESTS + index % RING * REQUEST_BYTES
        self.write(at, [int.from_bytes(raw[n : n + 4], "little") for n in range(0, len(raw), 4)])
        self.write(request["prompt_addr"], prompt)
        self.write(request["page_table_addr"], pages)
        self.requests.append((request, pages, prompt))
        return request

    def sampling(self):
        """Return how tokens are drawn: any of what is allowed."""
        rng, most = self.rng, CONFIG.list_len
        count = rng.choice((0, most, rng.randrange(most + 1)))
        return {
            "top_k": rng.choice((1, most, rng.randrange(1, most + 1))),
            "report_count": count,
            "multiplier": rng.getrandbits(16),
            "shift": rng.randrange(32),
            "seed": rng.getrandbits(32),
            "candidates_addr": CANDIDATES + 8 * rng.randrange(100) if count else TOP,
        }

    def write(self, addr, words):
        self.memory |= {addr + 4 * n: word for n, word in enumerate(words)}

    async def begin(self):
        await start(self.dut)
        cocotb.start_soon(watchdog(self.dut, 200_000))
        for name, value in self.registers.items():
            getattr(self.dut, name).value = value
        for task in (self.fetches(), self.strobes(), self.program(), self.writer()):
            cocotb.start_soon(task)
        cocotb.start_soon(obeys_rules(self.dut, "o_fetch"))
        cocotb.start_soon(obeys_rules(self.dut, "o_event"))
        self.dut.start.value = 1
        await RisingEdge(self.dut.clk)
        self.dut.start.value = 0

    async def ends(self):
        """Wait for the end; everything that was promised was done."""
        while True:
            await ReadOnly()
            if not self.dut.busy.value:
                break
            await RisingEdge(self.dut.clk)
        await RisingEdge(self.dut.clk)
        self.catch_up()
        assert not any(self.model.slots), self.model.slots
        assert self.events == self.model.events

    async def rests(self):
        for _ in range(next(self.idle)):
            await RisingEdge(self.dut.clk)

    def catch_up(self):
        """Let the model do what the unit did before this pass, and compare events so far."""
        for event in self.events[len(self.model.events) :]:
            if event["kind"] == "cancelled" and self.model.withdraw(event["request_id"]):
                continue
            break
        while self.taken < int(self.dut.requests_taken.value):
            request, pages, prompt = self.requests[self.taken]
            self.model.admit(request, pages, prompt[: request["prompt_len"]])
            self.taken += 1
            done = len(self.model.events)
            if done < len(self.events):
                event = self.events[done]
                if (event["kind"], event["request_id"]) == ("cancelled", request["request_id"]):
                    self.model.withdraw(request["request_id"])

    async def fetches(self):
        while True:
            (got,) = await collects(self.dut, "o_fetch", FETCH, 1, stall=lambda: self.idle)
            words = [self.memory[got["addr"] + 4 * n] for n in range(got["words"])]
            await sends(self.dut, "i_word", 32, words, stall=lambda: self.idle)

    async def strobes(self):
        dut = self.dut
        while True:
            await ReadOnly()
            if dut.table_en.value:
                key = int(dut.table_slot.value), int(dut.table_index.value)
                self.table[key] = int(dut.table_page.value)
            await RisingEdge(dut.clk)

    async def program(self):
        """Play the passes: rows and segments are those of the model, choices are random."""
        dut, answers = self.dut, None
        while True:
            await ReadOnly()
            if not dut.pass_start.value:
                await RisingEdge(dut.clk)
                continue
            self.catch_up()
            rows, segments = self.model.plan()
            assert self.events == self.model.events
            for key, page in self.model.table.items():
                assert self.table[key] == page
            emitting = [segment for segment in segments if segment["emit"]]
            assert int(dut.rows.value) == len(rows)
            assert int(dut.segments.value) == len(segments)
            assert int(dut.emits.value) == len(emitting)
            await RisingEdge(dut.clk)
            for index, (slot, position, token) in enumerate(rows):
                dut.row.value = dut.append_row.value = index
                await RisingEdge(dut.clk)
                await ReadOnly()
                for place in (dut.place, dut.append_place):
                    got = unpack(Scheduler(CONFIG).place.shape(), place.value)
                    assert got == {"slot": slot, "position": position}, (index, got)
                assert int(dut.token.value) == token
                await RisingEdge(dut.clk)
            for index, segment in enumerate(segments):
                dut.segment_index.value = dut.stream_index.value = index
                await RisingEdge(dut.clk)
                await ReadOnly()
                for port in (dut.segment, dut.stream_segment):
                    assert unpack(segment_layout(CONFIG), port.value) == segment
                await RisingEdge(dut.clk)
            for index, segment in enumerate(emitting):
                dut.emit_index.value = index
                await RisingEdge(dut.clk)
                await ReadOnly()
                assert int(dut.emit_row.value) == segment["row0"] + segment["rows"] - 1
                await RisingEdge(dut.clk)
            for index, segment in enumerate(emitting):
                dut.draw_index.value = index
                await RisingEdge(dut.clk)
                await ReadOnly()
                got = unpack(draw_layout(CONFIG), dut.draw.value)
                run = self.model.slots[segment["slot"]]
                assert got["sampling"] == {name: run[name] for name in SAMPLING}
                assert got["position"] == segment["first_pos"] + segment["rows"]
                await RisingEdge(dut.clk)
            await self.rests()
            choices = [self.choose(self.model.slots[segment["slot"]]) for segment in emitting]
            self.passes.append((rows, segments))
            if answers:
                answers.cancel()
            dut.choice.value = TOP
            dut.pass_done.value = 1
            await ReadOnly()
            assert dut.choose.value
            await RisingEdge(dut.clk)
            dut.pass_done.value = 0
            dut.choosing.value = 1
            for _ in range(next(self.idle) if choices else 0):
                await ReadOnly()
                assert not dut.choose.value
                assert not dut.o_event__valid.value
                await RisingEdge(dut.clk)
            answers = cocotb.start_soon(self.answers(choices))
            dut.choosing.value = 0
            self.model.finish(segments, choices)

    async def answers(self, choices):
        while True:
            await ReadOnly()
            index = int(self.dut.choice_index.value)
            await RisingEdge(self.dut.clk)
            self.dut.choice.value = choices[index] if index < len(choices) else TOP

    async def writer(self):
        """Take events; the host reads them after a while."""
        dut, written = self.dut, 0
        while True:
            (got,) = await collects(dut, "o_event", event_layout(), 1, stall=lambda: self.idle)
            at = int(dut.event_addr.value)
            ring = self.registers["event_ring_len"]
            assert at == EVENTS + written % ring * EVENT_BYTES
            dut.writes_pending.value = 1
            for _ in range(1 + next(self.idle)):
                await ReadOnly()
                assert not dut.token_event.value
                await RisingEdge(dut.clk)
            dut.writes_pending.value = 0
            kinds = {code: name for name, code in EVENT_KINDS.items()}
            self.events.append(got | {"kind": kinds[got["kind"]]})
            written += 1
            dut.o_event__ready.value = 1
            while True:
                await ReadOnly()
                seen = dut.token_event.value
                await RisingEdge(dut.clk)
                if seen:
                    break
            dut.o_event__ready.value = 0
            for _ in range(self.patience):
                await RisingEdge(dut.clk)
            if self.rng.random() < 0.5 or written - int(dut.events_read.value) >= ring:
                dut.events_read.value = written


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
