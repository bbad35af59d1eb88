"""Bench for `hw.request`: plays everything that a request is to, and compares what it does."""

import random

import cocotb
from cocotb.triggers import ReadOnly, RisingEdge

from hw.request import Request
from hw.spec.config import ArchConfig
from hw.spec.csr import ERRORS, RING_ENTRY_BYTES
from tests.support.bench import STALLS, collects, obeys_rules, params, sends, start, watchdog

CONFIG = ArchConfig(**params()["config"])
FETCH = Request(CONFIG).o_fetch.payload.shape()
TOP = (1 << 32) - 1
KV_BASE, KV_LIMIT = 0x8000_0000, 0x8001_0000
PROMPT, TABLE, RING = 0x0004_0000, 0x0008_0000, 0xFFFF_0000
NO_EOS = TOP


def request_of(**changes):
    """Return registers of a request that is in order."""
    registers = {
        "prompt_addr": PROMPT,
        "prompt_len": 5,
        "max_tokens": 3,
        "eos_token": NO_EOS,
        "start_pos": 0,
        "page_table_addr": TABLE,
        "page_count": CONFIG.max_pages,
        "kv_base": KV_BASE,
        "kv_limit": KV_LIMIT,
        "ring_addr_base": RING,
        "ring_len": 4,
        "max_prefill": 0,
    }
    return registers | changes


def memory_of(rng, registers):
    """Return the 32-bit words of prompt and page table by address."""
    memory = {PROMPT + 4 * n: rng.getrandbits(32) for n in range(CONFIG.max_context + 1)}
    for page in range(CONFIG.max_pages):
        step = CONFIG.align_bytes
        aligned = rng.randrange(KV_BASE, KV_LIMIT, step)
        memory[TABLE + 4 * page] = rng.choice((KV_BASE, KV_LIMIT - step, aligned))
    return memory


def expected(registers, memory, results):
    """Return what a request does, in order, the slow way; ``results`` are the tokens of passes."""
    r, results = registers, iter(results)
    pages = [memory.get(TABLE + 4 * n) for n in range(min(r["page_count"], CONFIG.max_pages))]
    yield "fetch", TABLE, len(pages)
    for index, page in enumerate(pages):
        yield "page", index, page
    most = min(r["max_prefill"] or CONFIG.max_rows, CONFIG.max_rows)
    pos, fed, written, token = r["start_pos"], 0, 0, None
    limit = r["page_count"] * CONFIG.page_len
    while True:
        left = r["prompt_len"] - fed
        if left:
            rows = min(left, most)
            if pos + rows > limit:
                yield "error", ERRORS["page_miss"], pos + rows - 1
                return
            yield "fetch", PROMPT + 4 * fed, rows
            tokens = tuple(memory[PROMPT + 4 * (fed + n)] for n in range(rows))
            fed += rows
        else:
            for cause, end in (("too_long", CONFIG.max_context), ("page_miss", limit)):
                if pos >= end:
                    yield "error", ERRORS[cause], pos
                    return
            tokens = (token,)
        emits = fed == r["prompt_len"]
        yield "pass", pos, tokens, emits
        pos += len(tokens)
        token = next(results)
        if emits:
            addr = r["ring_addr_base"] + written % r["ring_len"] * RING_ENTRY_BYTES
            yield "ring", addr % (1 << 32), token, pos
            written += 1
            if token == r["eos_token"] or written == r["max_tokens"]:
                yield "finished", token == r["eos_token"], written
                return


class Surroundings:
    """Memory, sequencer, ring writer and run control around the unit, and a log of what it did."""

    def __init__(self, dut, memory, results, stall):
        self.dut, self.memory, self.results = dut, memory, iter(results)
        self.idle = STALLS[stall]()
        self.log = []

    async def begin(self, registers):
        for name, value in registers.items():
            getattr(self.dut, name).value = value
        for task in (self.fetches(), self.strobes(), self.passes(), self.ring()):
            cocotb.start_soon(task)
        cocotb.start_soon(obeys_rules(self.dut, "o_fetch"))
        self.dut.start.value = 1
        await ReadOnly()
        assert self.dut.busy.value
        await RisingEdge(self.dut.clk)
        self.dut.start.value = 0

    async def rests(self):
        for _ in range(next(self.idle)):
            await RisingEdge(self.dut.clk)

    async def fetches(self):
        def stall():
            return self.idle

        while True:
            (got,) = await collects(self.dut, "o_fetch", FETCH, 1, stall=stall)
            self.log.append(("fetch", got["addr"], got["words"]))
            words = [self.memory[got["addr"] + 4 * n] for n in range(got["words"])]
            await sends(self.dut, "i_word", 32, words, stall=stall)

    async def strobes(self):
        dut = self.dut
        while True:
            await ReadOnly()
            if dut.page_en.value:
                self.log.append(("page", int(dut.page_index.value), int(dut.page.value)))
            if dut.error.value:
                self.log.append(("error", int(dut.error_cause.value), int(dut.error_addr.value)))
            if dut.finished.value:
                self.log.append(("finished", bool(dut.eos.value), int(dut.ring_head.value)))
            await RisingEdge(dut.clk)

    async def passes(self):
        dut = self.dut
        while True:
            await ReadOnly()
            if not dut.pass_start.value:
                await RisingEdge(dut.clk)
                continue

            def fields():
                return int(dut.first_pos.value), int(dut.rows.value), int(dut.emit.value)

            first_pos, rows, emit = fields()
            tokens = []
            await RisingEdge(dut.clk)
            for row in range(rows):
                dut.token_row.value = row
                await RisingEdge(dut.clk)
                await ReadOnly()
                tokens.append(int(dut.token.value))
                await RisingEdge(dut.clk)
            await self.rests()
            await ReadOnly()
            assert fields() == (first_pos, rows, emit)
            assert not dut.pass_start.value
            self.log.append(("pass", first_pos, tuple(tokens), bool(emit)))
            await RisingEdge(dut.clk)
            dut.pass_done.value = 1
            dut.next_token.value = next(self.results)
            await RisingEdge(dut.clk)
            dut.pass_done.value = 0
            dut.next_token.value = 0

    async def ring(self):
        """The entry is on its way for a while, and then without its response for another."""
        dut, written = self.dut, 0
        while True:
            await ReadOnly()
            assert int(dut.ring_head.value) == written
            assert not dut.token_event.value
            started = bool(dut.ring_start.value)
            entry = [int(getattr(dut, f"ring_{name}").value) for name in ("addr", "token", "pos")]
            await RisingEdge(dut.clk)
            if not started:
                continue
            for name in ("ring_busy", "writes_pending"):
                for _ in range(next(self.idle)):
                    getattr(dut, name).value = 1
                    await ReadOnly()
                    assert not dut.token_event.value
                    assert not dut.ring_start.value
                    now = [int(getattr(dut, f"ring_{x}").value) for x in ("addr", "token", "pos")]
                    assert now == entry
                    await RisingEdge(dut.clk)
                getattr(dut, name).value = 0
            self.log.append(("ring", *entry))
            await ReadOnly()
            assert dut.token_event.value
            written += 1
            await RisingEdge(dut.clk)


async def runs(dut, registers, *, seed=71, stall="never", memory=None, results=None):
    """Run a request to its end; return what it did and, if it was accepted, what it should do."""
    rng = random.Random(seed)
    memory = memory or memory_of(rng, registers)
    results = results or [rng.randrange(1 << 31) for _ in range(300)]
    await start(dut)
    cocotb.start_soon(watchdog(dut, 20_000))
    around = Surroundings(dut, memory, results, stall)
    await around.begin(registers)
    while True:
        await ReadOnly()
        if not dut.busy.value:
            break
        await RisingEdge(dut.clk)
    await RisingEdge(dut.clk)
    for _ in range(5):
        await ReadOnly()
        assert not dut.busy.value
        assert not dut.o_fetch__valid.value
        await RisingEdge(dut.clk)
    return around.log, memory, results


async def compares(dut, registers, **options):
    log, memory, results = await runs(dut, registers, **options)
    wanted = list(expected(registers, memory, results))
    for number, (did, should) in enumerate(zip(log, wanted, strict=False)):
        assert did == should, f"step {number} is {did}, expected {should}"
    assert len(log) == len(wanted)
    return log


async def refuses(dut, cause, addr, **changes):
    log, _, _ = await runs(dut, request_of(**changes))
    assert log == [("error", ERRORS[cause], addr)]


@cocotb.test()
@cocotb.parametrize(stall=list(STALLS), seed=range(8))
async def a_request_does_what_slow_code_does(dut, stall, seed):
    """Prompts in chunks of all sizes, rings that wrap, contexts continued, ends by limit or eos."""
    rng = random.Random(seed)
    start_pos = rng.choice((0, 1, CONFIG.page_len - 1, rng.randrange(CONFIG.max_context // 2)))
    prompt_len = rng.choice((1, CONFIG.max_rows, CONFIG.max_rows + 1, rng.randrange(1, 30)))
    registers = request_of(
        start_pos=start_pos,
        prompt_len=min(prompt_len, CONFIG.max_context - start_pos),
        max_tokens=rng.choice((1, 2, rng.randrange(1, 20), TOP)),
        ring_len=rng.choice((1, 2, 8, 1 << 31)),
        ring_addr_base=rng.choice((0, RING, (1 << 32) - RING_ENTRY_BYTES)),
        max_prefill=rng.choice((0, 1, 3, CONFIG.max_rows - 1, CONFIG.max_rows, TOP)),
        page_count=rng.randrange(1, CONFIG.max_pages + 1),
    )
    results = [rng.randrange(1 << 31) for _ in range(300)]
    if rng.random() < 0.7:
        registers["eos_token"] = results[rng.randrange(12)]
    await compares(dut, registers, stall=stall, seed=seed, results=results)


@cocotb.test()
@cocotb.parametrize(changes=[
    {"prompt_len": CONFIG.max_context, "max_tokens": 1},
    {"prompt_len": CONFIG.max_context - 1, "max_tokens": 2},
    {"start_pos": CONFIG.max_context - 1, "prompt_len": 1, "max_tokens": 1},
    {"prompt_len": CONFIG.page_len, "page_count": 1, "max_tokens": 1},
    {"prompt_len": 2 * CONFIG.max_rows, "max_tokens": 1},
    {"prompt_len": 1, "max_tokens": TOP, "eos_token": 0},
])  # fmt: skip
async def the_last_position_may_be_used(dut, changes):
    results = [5] * 20 + [0] * 280
    log = await compares(dut, request_of(**changes), results=results)
    assert log[-1][0] == "finished"


@cocotb.test()
@cocotb.parametrize(more=[0, 1, TOP - CONFIG.max_rows])
async def chunks_have_no_more_rows_than_the_chip(dut, more):
    most = CONFIG.max_rows
    log = await compares(dut, request_of(prompt_len=2 * most + 1, max_prefill=most + more))
    assert [len(step[2]) for step in log if step[0] == "pass"][:3] == [most, most, 1]


@cocotb.test()
async def tokens_of_prompt_chunks_do_not_count(dut):
    """What passes that emit nothing leave behind is neither reported nor the end."""
    registers = request_of(prompt_len=3, max_prefill=1, eos_token=9, max_tokens=2)
    log = await compares(dut, registers, results=[9, 9, 4, 9, 1])
    assert [step[2] for step in log if step[0] == "ring"] == [4, 9]
    assert log[-1] == ("finished", True, 2)


@cocotb.test()
async def last_token_that_ends_nothing_is_no_eos(dut):
    log = await compares(dut, request_of(max_tokens=1), results=[4])
    assert log[-1] == ("finished", False, 1)


@cocotb.test()
@cocotb.parametrize(case=[
    ("bad_request", 0, {"prompt_len": 0}),
    ("bad_request", 0, {"max_tokens": 0}),
    ("bad_request", 0, {"ring_len": 0}),
    ("bad_request", 3, {"ring_len": 3}),
    ("bad_request", TOP, {"ring_len": TOP}),
    ("bad_request", 0, {"page_count": 0}),
    ("bad_request", CONFIG.max_pages + 1, {"page_count": CONFIG.max_pages + 1}),
    ("bad_request", TOP, {"page_count": TOP}),
    ("too_long", CONFIG.max_context + 1, {"prompt_len": CONFIG.max_context + 1}),
    ("too_long", CONFIG.max_context + 5, {"start_pos": CONFIG.max_context}),
    ("too_long", TOP, {"prompt_len": TOP}),
    ("too_long", TOP - 1, {"prompt_len": TOP, "start_pos": TOP}),
    ("too_long", 4, {"start_pos": TOP}),
    ("bad_request", 3, {"ring_len": 3, "prompt_len": TOP, "page_count": 0}),
    ("too_long", TOP, {"prompt_len": TOP, "page_count": 1}),
])  # fmt: skip
async def bad_numbers_are_refused_before_anything_is_fetched(dut, case):
    cause, addr, changes = case
    await refuses(dut, cause, addr, **changes)


@cocotb.test()
@cocotb.parametrize(
    index=range(CONFIG.max_pages), page=[0, KV_BASE - 1, KV_BASE + 1, KV_LIMIT, TOP]
)
async def a_page_outside_the_region_is_refused(dut, index, page):
    registers = request_of()
    memory = memory_of(random.Random(1), registers)
    memory[TABLE + 4 * index] = page
    log, _, _ = await runs(dut, registers, memory=memory)
    assert log[-1] == ("error", ERRORS["bad_page"], page)
    assert [step[0] for step in log] == ["fetch", *["page"] * (index + 1), "error"]


@cocotb.test()
@cocotb.parametrize(case=[
    # (page_count, changes, position of the miss)
    (1, {"prompt_len": CONFIG.page_len + 1, "max_prefill": 1}, CONFIG.page_len),
    (1, {"prompt_len": CONFIG.page_len, "max_tokens": 2}, CONFIG.page_len),
    (1, {"start_pos": CONFIG.page_len - 2, "prompt_len": 1, "max_tokens": 9}, CONFIG.page_len),
    (1, {"start_pos": CONFIG.page_len, "prompt_len": 1}, CONFIG.page_len),
])  # fmt: skip
async def a_position_without_page_is_refused(dut, case):
    page_count, changes, pos = case
    log = await compares(dut, request_of(page_count=page_count, **changes))
    assert log[-1] == ("error", ERRORS["page_miss"], pos)


@cocotb.test()
async def a_sequence_past_the_context_is_refused(dut):
    registers = request_of(start_pos=CONFIG.max_context - 3, prompt_len=1, max_tokens=TOP)
    log = await compares(dut, registers)
    assert log[-1] == ("error", ERRORS["too_long"], CONFIG.max_context)
    assert [step[3] for step in log if step[0] == "ring"] == [
        CONFIG.max_context - 2,
        CONFIG.max_context - 1,
        CONFIG.max_context,
    ]


@cocotb.test()
async def ring_head_is_kept_until_the_next_start(dut):
    await compares(dut, request_of(max_tokens=2))
    assert dut.ring_head.value == 2
    dut.start.value = 1
    await RisingEdge(dut.clk)
    await ReadOnly()
    assert dut.ring_head.value == 0


async def strobes(dut, names):
    """Record, for ever, the cycles in which something happens."""
    at = {name: [] for name in names}

    async def watches():
        number = 0
        while True:
            await ReadOnly()
            for name in names:
                if getattr(dut, name).value:
                    at[name].append(number)
            number += 1
            await RisingEdge(dut.clk)

    cocotb.start_soon(watches())
    return at


@cocotb.test()
async def timing_is_as_documented(dut):
    """Two chunks of a prompt and three tokens, with nobody slow around."""
    names = ("pass_start", "pass_done", "o_fetch__valid", "i_word__valid")
    at = await strobes(dut, names)
    await compares(dut, request_of(prompt_len=4, max_prefill=2, max_tokens=3))
    assert len(at["pass_start"]) == 4
    _, _, second_chunk = sorted(at["o_fetch__valid"])[-3:]
    assert second_chunk == at["pass_done"][0] + 2
    assert at["pass_start"][1] == at["i_word__valid"][-1] + 1
    assert at["pass_start"][2:] == [cycle + 4 for cycle in at["pass_done"][1:3]]
