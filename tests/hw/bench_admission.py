"""Bench for `hw.admission`: requests come and go, and the pages they claim are counted."""

import random

import cocotb
from cocotb.triggers import ReadOnly, RisingEdge

from hw.admission import REQUEST_WORDS, Admission, request_layout
from hw.page_owners import PageOwners
from hw.spec.config import ArchConfig
from hw.spec.csr import ERRORS
from hw.spec.requests import REQUEST, REQUEST_BYTES, encode_request
from tests.hw.slow_scheduler import SlowScheduler
from tests.support.bench import (
    STALLS,
    collects,
    cycle,
    obeys_rules,
    pack,
    params,
    sends,
    start,
    watchdog,
)

CONFIG = ArchConfig(**params()["config"])
FETCH = Admission(CONFIG).o_fetch.payload.shape()
#: Where the ring, prompts and page tables begin behind the start of the host's region, and its end.
HOST, PROMPTS, TABLES, HOST_BYTES = 0x1_0000, 0x1000, 0x2000, 0x3000
WIDTHS = {name: width for name, width in REQUEST if not name.startswith("spare")}
REGISTERS = {
    "kv_base": 0x4000_0000,
    "page_bytes": 0x1000,
    "kv_pages": CONFIG.kv_pages - 1,
    "context": CONFIG.max_context,
    "host_base": HOST,
    "host_limit": HOST + HOST_BYTES,
}


class Slots:
    """The unit, the memory that it reads, and slow code that says what it is to do."""

    def __init__(self, dut, stall="never"):
        self.dut = dut
        self.idle = STALLS[stall]()
        self.memory, self.asked = {}, []
        self.table, self.claimed_at = {}, []

    async def begin(self):
        await start(self.dut)
        cocotb.start_soon(watchdog(self.dut, 200_000))
        self.move()
        cocotb.start_soon(obeys_rules(self.dut, "o_fetch"))
        cocotb.start_soon(self.fetches())
        cocotb.start_soon(self.watches_table())
        await self.does("clear")

    def move(self, **registers):
        """Set the registers, with no request in any slot."""
        self.registers = REGISTERS | registers
        self.model = SlowScheduler(CONFIG, **self.registers, vocab=1, max_prefill=0)
        for name, value in self.registers.items():
            getattr(self.dut, name).value = value

    async def fetches(self):
        while True:
            (got,) = await collects(self.dut, "o_fetch", FETCH, 1, stall=lambda: self.idle)
            self.asked.append((got["addr"], got["words"]))
            words = [self.memory[got["addr"] + 4 * n] for n in range(got["words"])]
            await sends(self.dut, "i_word", 32, words, stall=lambda: self.idle)

    async def watches_table(self):
        dut = self.dut
        while True:
            await ReadOnly()
            if dut.table_en.value:
                key = int(dut.table_slot.value), int(dut.table_index.value)
                self.table[key] = int(dut.table_page.value)
                self.claimed_at.append(cycle())
            await RisingEdge(dut.clk)

    async def does(self, strobe):
        """Strobe and wait; return the cycles from the strobe on in which the unit is busy."""
        dut, cycles = self.dut, 0
        getattr(dut, strobe).value = 1
        while True:
            await ReadOnly()
            busy = cycles == 0 or int(dut.busy.value)
            await RisingEdge(dut.clk)
            getattr(dut, strobe).value = 0
            if not busy:
                return cycles
            cycles += 1

    async def admit(self, slot, pages, **changes):
        """Admit a request into a slot; return None, or why not as (cause, detail)."""
        dut, model = self.dut, self.model
        host = self.registers["host_base"]
        request = {
            "request_id": 77,
            "prompt_addr": host + PROMPTS,
            "prompt_len": 1,
            "max_tokens": 1,
            "eos_token": 0,
            "start_pos": 0,
            "page_table_addr": host + TABLES,
            "page_count": len(pages),
            "shared_pages": 0,
            "top_k": 1,
            "report_count": 0,
            "multiplier": 0,
            "shift": 0,
            "seed": 0,
            "candidates_addr": 0,
        } | changes
        raw = encode_request(**request)
        self.memory = {
            host + n: int.from_bytes(raw[n : n + 4], "little") for n in range(0, REQUEST_BYTES, 4)
        }
        self.memory |= {request["page_table_addr"] + 4 * n: page for n, page in enumerate(pages)}
        self.asked.clear()
        dut.slot.value, dut.addr.value = slot, host
        await self.does("admit")
        model.admit(request, pages, [0], slot)
        assert int(dut.request.value) == pack(request_layout(), request)
        assert int(dut.refused.value) == (model.slots[slot] is None), request
        assert self.asked[0] == (host, REQUEST_WORDS)
        if int(dut.refused.value):
            event = model.events.pop()
            got = int(dut.cause.value), int(dut.detail.value)
            assert got == (event["cause"], event["detail"]), request
            return got
        assert self.asked[1:] == [(request["page_table_addr"], len(pages))]
        for index, page in enumerate(pages):
            addr = self.registers["kv_base"] + page * self.registers["page_bytes"]
            addr %= 1 << 32
            assert self.table[slot, index] == addr
        return None

    async def release(self, slot):
        """Give the pages of a slot back, if it has any."""
        run, self.model.slots[slot] = self.model.slots[slot], None
        self.dut.slot.value = slot
        assert await self.does("release") == 2 + 5 * len(run["pages"] if run else [])


async def begin(dut, stall="never"):
    slots = Slots(dut, stall)
    await slots.begin()
    return slots


def random_request(rng):
    """Return pages, of which there are few, and fields; the first pages may be shared."""
    count = rng.randrange(1, CONFIG.max_pages + 1)
    shared = rng.randrange(count)
    pages = [rng.randrange(CONFIG.kv_pages) for _ in range(count)]
    return pages, {
        "shared_pages": shared,
        "start_pos": shared * CONFIG.page_len,
        "prompt_len": rng.randrange(1, CONFIG.page_len),
    }


@cocotb.test()
@cocotb.parametrize(stall=list(STALLS), seed=range(2))
async def pages_are_claimed_and_given_back_as_slow_code_says(dut, stall, seed):
    """In any order; a slot that has nothing gives nothing back."""
    print(f"seed {seed}")
    rng = random.Random(seed)
    slots = await begin(dut, stall)
    admitted = refused = 0
    for _ in range(400):
        slot = rng.randrange(CONFIG.max_seqs)
        if slots.model.slots[slot] or rng.random() < 0.1:
            await slots.release(slot)
            continue
        pages, fields = random_request(rng)
        if await slots.admit(slot, pages, **fields):
            refused += 1
        else:
            admitted += 1
    assert min(admitted, refused) > 50


@cocotb.test()
@cocotb.parametrize(bad=range(CONFIG.max_pages))
async def a_refused_request_leaves_no_page_claimed(dut, bad):
    """Whichever of its pages is the bad one, and whether it is outside or another's."""
    slots = await begin(dut)
    pages = list(range(1, CONFIG.max_pages + 1))
    assert await slots.admit(0, [0]) is None
    for wrong in (0, REGISTERS["kv_pages"], CONFIG.kv_pages, (1 << 32) - 1):
        for shared in range(CONFIG.max_pages):
            request = {"shared_pages": shared, "start_pos": shared * CONFIG.page_len}
            asked = [*pages[:bad], wrong, *pages[bad + 1 :]]
            assert await slots.admit(1, asked, **request) == (ERRORS["bad_page"], wrong)
            # Another takes all of them at once; the refused one has nothing to give back.
            assert await slots.admit(2, pages) is None
            await slots.release(1)
            assert await slots.admit(1, pages[:1]) == (ERRORS["bad_page"], pages[0])
            await slots.release(2)


@cocotb.test()
async def readers_leave_in_any_order(dut):
    """The last one out frees the page for a writer."""
    slots = await begin(dut)
    reader = {"shared_pages": 1, "start_pos": CONFIG.page_len}
    for order in ((0, 1), (1, 0)):
        for slot in order:
            assert await slots.admit(slot, [3, 4 + slot], **reader) is None
        for slot in order:
            assert await slots.admit(2, [3]) == (ERRORS["bad_page"], 3)
            await slots.release(slot)
        assert await slots.admit(2, [3]) is None
        assert await slots.admit(0, [3, 4], **reader) == (ERRORS["bad_page"], 3)
        await slots.release(2)


@cocotb.test()
async def a_page_may_be_read_under_many_numbers(dut):
    """And is a reader's until each of them is given back."""
    slots = await begin(dut)
    count = CONFIG.max_pages - 1
    request = {"shared_pages": count, "start_pos": count * CONFIG.page_len}
    for slot in range(CONFIG.max_seqs - 1):
        assert await slots.admit(slot, [7] * count + [slot], **request) is None
        assert await slots.admit(CONFIG.max_seqs - 1, [7]) == (ERRORS["bad_page"], 7)
    for slot in range(CONFIG.max_seqs - 1):
        await slots.release(slot)
    assert await slots.admit(CONFIG.max_seqs - 1, [7]) is None


@cocotb.test()
@cocotb.parametrize(seed=range(3))
async def garbage_is_refused_and_claims_nothing(dut, seed):
    """Any field may hold anything; requests without a fault are admitted all the same."""
    print(f"seed {seed}")
    rng = random.Random(seed)
    slots = await begin(dut)
    top = {name: (1 << width) - 1 for name, width in WIDTHS.items()}
    causes = set()
    for _ in range(800):
        pages, fields = random_request(rng)
        for name in rng.sample(list(top), rng.choice((0, 1, 1, 2, len(top)))):
            small = rng.randrange(2 * CONFIG.page_len)
            fields[name] = rng.choice((0, top[name], rng.randrange(top[name] + 1), small))
        if "page_count" in fields:
            count = fields["page_count"] % 1024
            pages = [rng.choice((1, 2, rng.getrandbits(32))) for _ in range(count)]
        causes.add(await slots.admit(0, pages, **fields) and dut.cause.value.to_unsigned())
        await slots.release(0)
    wanted = ("bad_request", "too_long", "page_miss", "bad_page")
    assert causes == {None, *(ERRORS[cause] for cause in wanted)}


@cocotb.test()
@cocotb.parametrize(seed=range(2))
async def regions_may_lie_anywhere_and_pages_be_of_any_size(dut, seed):
    """Every second time all bits of where they lie are the other way round."""
    print(f"seed {seed}")
    rng = random.Random(seed)
    slots = await begin(dut)
    for number in range(16):
        if number % 2 == 0:
            host = rng.randrange(HOST_BYTES, (1 << 32) - 2 * HOST_BYTES) & ~0xFFF
            kv_base, page_bytes, pages, context = (rng.getrandbits(32) for _ in range(4))
        else:
            host = (~host % (1 << 32)) & ~0xFFF
            kv_base, page_bytes, pages, context = (
                ~value % (1 << 32) for value in (kv_base, page_bytes, pages, context)
            )
        slots.move(
            host_base=host,
            host_limit=host + HOST_BYTES,
            kv_base=kv_base,
            page_bytes=page_bytes,
            kv_pages=pages,
            context=context,
        )
        named, fields = random_request(rng)
        await slots.admit(0, named, **fields)
        await slots.release(0)


@cocotb.test()
async def a_page_takes_as_long_as_documented(dut):
    slots = await begin(dut)
    assert await slots.admit(0, list(range(CONFIG.max_pages))) is None
    first, *_, last = slots.claimed_at
    assert last - first == (PageOwners.CYCLES + 3) * (CONFIG.max_pages - 1)
    await slots.release(0)


@cocotb.test()
async def requests_hold_what_their_fields_say(dut):
    """The layout is that of `hw.spec.requests`, to the bit."""
    await start(dut)
    values = {
        name: (0x9E3779B9 * (n + 1)) % (1 << width)
        for n, (name, width) in enumerate(WIDTHS.items())
    }
    raw = int.from_bytes(encode_request(**values), "little")
    assert raw == pack(request_layout(), values)
