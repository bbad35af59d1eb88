"""What is around `hw.scheduler` in a bench: memory, program, event writer, and a model."""

import cocotb
from cocotb.triggers import ReadOnly, RisingEdge

from hw.event_writer import event_layout
from hw.jobs import draw_layout, sampling_layout, segment_layout
from hw.lib.axi import PAGE_BYTES
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
    "HOST_BYTES",
    "PROMPTS",
    "Surroundings",
    "TOP",
]

CONFIG = ArchConfig(**params()["config"])
FETCH = Scheduler(CONFIG).o_fetch.payload.shape()
PLACE = Scheduler(CONFIG).place.shape()
TOP = (1 << 32) - 1
#: Where all but the ring of requests lies behind the start of the host's region, and its end.
PROMPTS, TABLES, EVENTS, CANDIDATES = 0xF_0000, 0x1F_0000, 0x2F_0000, 0x2F_8000
HOST_BYTES = 0x30_0000
SAMPLING = [name for name, _ in sampling_layout(CONFIG)]
CONTEXT = CONFIG.max_context - 5


class Surroundings:
    """Memory, program and event writer around the unit; checks what it does as it does it.

    Where regions lie, the numbers of requests and the size of the vocabulary are drawn at random.
    """

    def __init__(self, dut, rng, stall, *, host=None, **registers):
        self.dut, self.rng = dut, rng
        self.patience = 0  # cycles in which the host leaves an event in the ring
        self.idle = STALLS[stall]()
        # Aligned as the hardest of the lists in it is; never at 0, which is outside.
        self.host = 64 * rng.randrange(1, (TOP - HOST_BYTES) // 64) if host is None else host
        self.vocab = rng.choice((500, rng.randrange(500, TOP)))
        self.first_id, self.id_step = rng.getrandbits(32), rng.getrandbits(32) | 1
        kv_pages = rng.choice((CONFIG.kv_pages, rng.randrange(CONFIG.kv_pages, 1 << 32)))
        self.registers = {
            "request_ring_addr": self.host,
            "request_ring_len": 1 << rng.randrange(5, 32),
            "requests_written": 0,
            "event_ring_addr": self.host + EVENTS,
            "event_ring_len": 1 << rng.randrange(3, 32),
            "events_read": 0,
            "cancel_id": rng.getrandbits(32),
            "kv_base": rng.getrandbits(32),
            "page_bytes": rng.getrandbits(32),
            "kv_pages": kv_pages,
            "host_base": self.host,
            "host_limit": self.host + HOST_BYTES,
            "vocab": self.vocab,
            "context": CONTEXT,
            "max_prefill": 0,
            "channel_stride": rng.getrandbits(32) // PAGE_BYTES * PAGE_BYTES,
        } | registers
        names = SlowScheduler.REGISTERS
        self.model = SlowScheduler(CONFIG, **{name: self.registers[name] for name in names})
        self.memory, self.requests, self.table = {}, [], {}
        self.taken = 0
        self.events, self.passes = [], []
        self.choose = lambda run: rng.randrange(self.vocab)

    def number(self, index):
        """Return the number that a request has unless it is given another."""
        return (self.first_id + index * self.id_step) % (1 << 32)

    def add(self, **changes):
        """Write a request into memory; it is taken once ``requests_written`` says so."""
        index = len(self.requests)
        request = {
            "request_id": self.number(index),
            "prompt_addr": self.host + PROMPTS + 0x1000 * index,
            "prompt_len": 5,
            "max_tokens": 3,
            "eos_token": self.rng.randrange(self.vocab, 1 << 32),
            "start_pos": 0,
            "page_table_addr": self.host + TABLES + 0x400 * index,
            "page_count": 1,
            "shared_pages": 0,
        }
        request |= self.sampling()
        pages = changes.pop("pages", [index])
        prompt = changes.pop("prompt", None)
        request |= {"page_count": len(pages)} | changes
        if prompt is None:
            prompt = [
                self.rng.randrange(self.vocab) for _ in range(min(request["prompt_len"], 600))
            ]
        raw = encode_request(**request)
        at = self.host + index % self.registers["request_ring_len"] * REQUEST_BYTES
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
            "candidates_addr": self.host + CANDIDATES + 8 * rng.randrange(100) if count else TOP,
        }

    def write(self, addr, words):
        self.memory |= {addr + 4 * n: word for n, word in enumerate(words)}

    async def begin(self):
        await start(self.dut)
        cocotb.start_soon(watchdog(self.dut, 200_000))
        await self.rests_whatever_the_registers_hold()
        for name, value in self.registers.items():
            getattr(self.dut, name).value = value
        for task in (self.fetches(), self.strobes(), self.program(), self.writer()):
            cocotb.start_soon(task)
        cocotb.start_soon(obeys_rules(self.dut, "o_fetch"))
        cocotb.start_soon(obeys_rules(self.dut, "o_event"))
        self.dut.start.value = 1
        await RisingEdge(self.dut.clk)
        self.dut.start.value = 0

    async def rests_whatever_the_registers_hold(self):
        """Nothing is asked and nothing reported before the start."""
        dut = self.dut
        for _ in range(2):
            for name in self.registers:
                getattr(dut, name).value = self.rng.getrandbits(32)
            for _ in range(3):
                await RisingEdge(dut.clk)
                await ReadOnly()
                for name in ("busy", "o_fetch__valid", "o_event__valid", "stalled", "error"):
                    assert not getattr(dut, name).value, name
                await RisingEdge(dut.clk)

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
            assert at == self.host + EVENTS + written % ring * EVENT_BYTES
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
