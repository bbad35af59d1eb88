"""What is around `hw.scheduler` in a bench: memory, program, event writer, and a model."""

import cocotb
from cocotb.triggers import ReadOnly, RisingEdge

from hw.event_writer import event_layout
from hw.jobs import draw_layout, sampling_layout, segment_layout
from hw.scheduler import Scheduler
from hw.spec.config import ArchConfig
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

__all__ = [
    "CANDIDATES",
    "CONFIG",
    "CONTEXT",
    "HOST_LIMIT",
    "PROMPTS",
    "REQUESTS",
    "Surroundings",
    "TOP",
    "VOCAB",
]

CONFIG = ArchConfig(**params()["config"])
FETCH = Scheduler(CONFIG).o_fetch.payload.shape()
PLACE = Scheduler(CONFIG).place.shape()
TOP = (1 << 32) - 1
KV_BASE, PAGE_BYTES = 0x4000_0000, 0x1000
REQUESTS, PROMPTS, TABLES, EVENTS = 0x1_0000, 0x10_0000, 0x20_0000, 0x30_0000
CANDIDATES = 0x30_8000
SAMPLING = [name for name, _ in sampling_layout(CONFIG)]
HOST_LIMIT = 0x31_0000
RING, VOCAB = 32, 500
CONTEXT = CONFIG.max_context - 5
NO_EOS = TOP


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
                    got = unpack(PLACE, place.value)
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
