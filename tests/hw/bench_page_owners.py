"""Bench for `hw.page_owners`: claims and releases against a list of users."""

import itertools
import random

import cocotb
from cocotb.triggers import ReadOnly, RisingEdge

from hw.page_owners import PageOwners
from hw.spec.config import ArchConfig
from tests.support.bench import params, start, watchdog

CONFIG = ArchConfig(**params()["config"])
WRITER, READER = 0, 1  # the field `shared`
#: Users that a page can have: each sequence may name it as often as it has pages.
MOST = CONFIG.max_seqs * CONFIG.max_pages


class Pages:
    """The unit, and who uses each page."""

    def __init__(self, dut):
        self.dut = dut
        self.users = {}

    async def act(self, strobe, cycles, **fields):
        """Strobe, and return ``refused`` in the last of the cycles that it takes."""
        dut = self.dut
        for name, value in fields.items():
            getattr(dut, name).value = value
        getattr(dut, strobe).value = 1
        for cycle in range(cycles):
            await ReadOnly()
            assert int(dut.busy.value) == (cycle > 0), f"{strobe}: {cycle} cycles"
            refused = int(dut.refused.value)
            await RisingEdge(dut.clk)
            getattr(dut, strobe).value = 0
        await ReadOnly()
        assert not int(dut.busy.value), f"{strobe}: more than {cycles} cycles"
        await RisingEdge(dut.clk)
        return refused

    async def clear(self):
        await self.act("clear", CONFIG.kv_pages + 1)
        self.users.clear()

    async def claim(self, page, shared):
        users = self.users.setdefault(page, [])
        if shared == READER and len(users) == MOST:
            return  # nobody claims so often
        allowed = not users or (shared == READER and WRITER not in users)
        refused = await self.act("claim", PageOwners.CYCLES, page=page, shared=shared)
        assert refused == (not allowed), f"page {page}, shared {shared}, users {users}"
        if allowed:
            users.append(shared)

    async def release(self, page, shared):
        self.users[page].remove(shared)
        await self.act("release", PageOwners.CYCLES, page=page, shared=shared)


async def begin(dut):
    await start(dut)
    cocotb.start_soon(watchdog(dut, 200_000))
    pages = Pages(dut)
    await pages.clear()
    return pages


@cocotb.test()
async def every_sequence_of_claims_and_releases(dut):
    """Of one page, six steps long; after each what may be claimed is as it should be."""
    pages = await begin(dut)
    page = 1
    for steps in itertools.product(("claim", "release"), (WRITER, READER), repeat=6):
        for strobe, shared in zip(steps[::2], steps[1::2], strict=True):
            if strobe == "claim":
                await pages.claim(page, shared)
            elif shared in pages.users.get(page, ()):
                await pages.release(page, shared)
        while pages.users.get(page):
            await pages.release(page, pages.users[page][0])


@cocotb.test()
@cocotb.parametrize(seed=range(3))
async def pages_do_not_know_of_each_other(dut, seed):
    print(f"seed {seed}")
    rng = random.Random(seed)
    pages = await begin(dut)
    for _ in range(3000):
        used = [(page, user) for page, users in pages.users.items() for user in users]
        if used and rng.random() < 0.45:
            await pages.release(*rng.choice(used))
        else:
            page = rng.choice((0, CONFIG.kv_pages - 1, rng.randrange(CONFIG.kv_pages)))
            await pages.claim(page, rng.choice((WRITER, READER)))


@cocotb.test()
async def as_many_readers_as_there_can_be(dut):
    """A request may name a page again and again, and never becomes its writer by that."""
    pages = await begin(dut)
    for _ in range(MOST):
        await pages.claim(0, READER)
        await pages.claim(0, WRITER)
    for _ in range(MOST):
        await pages.claim(0, WRITER)
        await pages.release(0, READER)
    await pages.claim(0, WRITER)


@cocotb.test()
async def clear_forgets_all_users(dut):
    pages = await begin(dut)
    for shared in (WRITER, READER):
        for page in range(CONFIG.kv_pages):
            await pages.claim(page, shared)
        await pages.clear()
        for page in range(CONFIG.kv_pages):
            await pages.claim(page, WRITER)
        await pages.clear()
