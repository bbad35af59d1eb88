"""Bench for `hw.row_feeder`: the place of each strip, and every row that it feeds."""

import functools

import cocotb
from amaranth.hdl import Shape
from cocotb.triggers import ClockCycles, ReadOnly, RisingEdge

from hw.jobs import Dest
from hw.row_feeder import FEED_LATENCY, RowFeeder
from hw.spec.config import ArchConfig
from tests.hw.fed_rows import MEMORIES, Memories, fed_rows, places
from tests.hw.vector_stream import seeded
from tests.support.bench import pack, params, start, unpack, watchdog

CONFIG, GROUP = ArchConfig(**params()["config"]), params()["group"]
DUT = RowFeeder(CONFIG, group=GROUP)
JOB, STRIP, TAG, FED = (getattr(DUT, name).shape() for name in ("job", "strip", "tag", "fed"))
PORTS = {name: getattr(DUT, name).shape() for name in MEMORIES}

#: Jobs by name: destination, strips of each section, blocks of a head.
JOBS = {
    "residual": (Dest.RESIDUAL, (4, 0, 0), 0),
    "logits": (Dest.LOGITS, (3, 0, 0), 0),
    "qkv": (Dest.QKV, (6, 4, 4), 2),
    "qkv of one block": (Dest.QKV, (3, 1, 1), 1),
    "qkv of three heads": (Dest.QKV, (6, 6, 6), 2),
    "gate and up": (Dest.GLU, (3, 3, 0), 0),
    "one gate, one up": (Dest.GLU, (1, 1, 0), 0),
    "no up": (Dest.GLU, (5, 0, 0), 0),
    "one gate": (Dest.GLU, (1, 0, 0), 0),
    "scores": (Dest.SCORES, (3, 0, 0), 2),
    "values": (Dest.VALUES, (2, 0, 0), 2),
}
ATTENTION = (Dest.SCORES, Dest.VALUES)
_LOADING = 2  # cycles after the start of a tile in which the next cannot be ready
if GROUP:  # a group that computes no strip gets no job
    del JOBS["one gate"]


def random_fields(rng):
    """Return a job of nothing but chance."""
    return {field: rng.getrandbits(Shape.cast(shape).width) for field, shape in JOB.members.items()}


def random_job(rng, name):
    """Return a job of `JOBS` with all else at random, and the places of the strips it computes."""
    dest, strips, head_blocks = JOBS[name]
    wanted = places(dest, strips, head_blocks)
    if dest not in ATTENTION:
        wanted = wanted[GROUP :: CONFIG.groups]
    job = random_fields(rng)
    heads = rng.choice([n for n in (1, 2, 3) if n <= CONFIG.max_rows // 2])
    # Of attention a half of the rows, or what a half has room for, is scored at a time.
    rows = CONFIG.max_rows // (2 * heads) if dest in ATTENTION else CONFIG.max_rows // heads
    return job | {
        "dest": dest,
        "strips": len(wanted),
        "blocks": rng.choice((1, 1, 2, 3)),
        "heads": heads,
        "head_rows": rng.choice((1, rows)),
        "head_blocks": head_blocks,
        "first_block": rng.randrange(CONFIG.max_context // 32 - 3),
        **{f"strips{index}": count for index, count in enumerate(strips)},
    }, wanted


class Feeder:
    """The unit's surroundings: they serve its reads and check its outputs in every cycle."""

    def __init__(self, dut, rng):
        self.dut, self.rng = dut, rng
        self.bank = 0
        self.memories = Memories(rng.getrandbits(32))
        self.pipeline = [None] * FEED_LATENCY  # rows on their way
        self.banks = 0  # that were used a cycle ago

    async def run(self, name):
        """Run a job whose tiles and banks come at random; compare its strips and its rows."""
        dut, rng = self.dut, self.rng
        job, wanted = random_job(rng, name)
        rows = list(fed_rows(CONFIG, job, self.bank, self.memories))
        dut.job.value = pack(JOB, job)
        dut.loading.value = 1
        dut.tile_ready.value = 0
        await ReadOnly()
        await self.step(None)
        dut.job.value = rng.getrandbits(Shape.cast(JOB).width)  # copied
        dut.loading.value = rng.randrange(2)
        for _ in range(CONFIG.groups - 1):
            await ReadOnly()
            await self.step(None)
        strips, used = [], 0
        in_tile = False
        loads = _LOADING  # cycles in which a tile cannot be ready yet
        while used < len(rows):
            ready = 0 if loads else rng.randrange(2)
            dut.tile_ready.value = ready
            dut.banks_used.value = banks = rng.choice((0, 0, 1, 2, 3))
            tag, _, begins = rows[used]
            free = not self.banks >> tag["bank"] & 1
            self.banks = banks
            moves = in_tile or (ready and (free or not begins))
            await ReadOnly()
            assert int(dut.busy.value) == 1
            assert int(dut.feeding.value) == moves
            assert int(dut.tile_start.value) == (moves and not in_tile)
            assert int(dut.starved.value) == (not in_tile and not ready)
            assert int(dut.stalled.value) == (ready and begins and not free)
            assert int(dut.begins.value) == (moves and begins) << tag["bank"]
            if moves and begins:
                strips.append(unpack(STRIP, int(dut.strip.value)))
            await self.step(rows[used] if moves else None)
            loads = _LOADING if moves and not in_tile else max(0, loads - 1)
            if moves:
                used += 1
                in_tile = used < len(rows) and not rows[used][0]["swap"]
        dut.tile_ready.value = rng.randrange(2)
        for cycle in range(rng.choice((1, 2, FEED_LATENCY + 2))):
            await ReadOnly()
            for line in ("busy", "feeding", "tile_start", "starved", "stalled", "begins"):
                assert int(getattr(dut, line).value) == 0, line
            await self.step(None)
            dut.loading.value = int(dut.loading.value) and cycle % 2 == 0
        dut.loading.value = 0
        await ReadOnly()
        await self.step(None)
        self.bank ^= job["strips"] & 1
        self.compare(name, job, wanted, strips)

    async def step(self, row):
        """Go on a cycle, in which ``row`` is fetched, from where its signals have settled."""
        dut = self.dut
        fed = self.pipeline.pop(0)
        self.pipeline.append(row)
        tag = unpack(TAG, int(dut.tag.value))
        assert tag["valid"] == (fed is not None)
        if fed is not None:
            assert tag == fed[0]
            assert unpack(FED, int(dut.fed.value)) == fed[1]
        words = {
            name: self.word(name, *(int(getattr(dut, line).value) for line in lines))
            for name, lines in MEMORIES.items()
        }
        await RisingEdge(dut.clk)
        for name, word in words.items():
            getattr(dut, name).value = word

    @functools.cache  # noqa: B019, as long as a test
    def word(self, name, *address):
        if "part" in MEMORIES[name]:
            *address, part = address
            block = self.memories.read(name, *address)
            return pack(PORTS[name], block[part * CONFIG.feed_len :][: CONFIG.feed_len])
        return pack(PORTS[name], self.memories.read(name, *address))

    def compare(self, name, job, wanted, strips):
        if job["dest"] not in ATTENTION:
            fields = ("section", "section_strip", "head", "block")[: len(wanted[0])]
            assert [tuple(strip[field] for field in fields) for strip in strips] == wanted, name
        assert [s["last"] for s in strips] == [0] * (len(wanted) - 1) + [1], name
        job = job | {"dest": job["dest"].value}
        assert all(strip["job"] == job for strip in strips), name


@cocotb.test()
@cocotb.parametrize(name=list(JOBS))
async def rows_are_fed_and_strips_placed_among_the_outputs(dut, name):
    await start(dut)
    cocotb.start_soon(watchdog(dut, 20_000))
    feeder = Feeder(dut, seeded())
    for _ in range(3):
        await feeder.run(name)


@cocotb.test()
async def a_job_leaves_nothing_to_the_next(dut):
    rng = seeded()
    await start(dut)
    cocotb.start_soon(watchdog(dut, 100_000))
    feeder = Feeder(dut, rng)
    for name in rng.sample(list(JOBS) * 3, 3 * len(JOBS)):
        await feeder.run(name)


def row_job(rng, dest, strips, blocks):
    """Return a linear job of one row, and the places of its first strips."""
    job = random_fields(rng) | {
        "dest": dest,
        "strips": len(range(GROUP, sum(strips), CONFIG.groups)),
        "blocks": blocks,
        "heads": 1,
        "head_rows": 1,
        "head_blocks": 1,
        **{f"strips{index}": count for index, count in enumerate(strips)},
    }
    few = [min(count, 4096) for count in strips]
    return job, places(dest, few, 1)[GROUP :: CONFIG.groups]


async def runs_steadily(dut, job, wanted, limit=None):
    """Run a job of one row, all or so many blocks of it, a tile every `FEED_LATENCY` cycles."""
    dut.job.value = pack(JOB, job)
    dut.loading.value = 1
    dut.tile_ready.value = 0
    dut.banks_used.value = 0
    await RisingEdge(dut.clk)
    dut.loading.value = 0
    await ClockCycles(dut.clk, CONFIG.groups + _LOADING)
    each = CONFIG.own_subs * job["blocks"]
    fed = None  # whether the tile before begins a sum
    for number in range((limit or job["strips"] * each) * CONFIG.tiles_per_block):
        at, tile = divmod(number, CONFIG.tiles_per_block)
        strip, step = divmod(at, each)
        dut.tile_ready.value = 1
        await ReadOnly()
        assert int(dut.busy.value) == 1
        assert int(dut.tile_start.value) == 1
        assert int(dut.act_block.value) == (job["src"] + step % job["blocks"]) % 1024
        assert int(dut.begins.value) == (not step and not tile) << (strip & 1)
        if fed is not None:
            tag = unpack(TAG, int(dut.tag.value))
            assert (tag["swap"], tag["first"]) == (1, fed)
        fed = step % job["blocks"] == 0 and tile == 0
        if not step and not tile:
            info = unpack(STRIP, int(dut.strip.value))
            assert (info["section"], info["section_strip"]) == wanted[strip][:2]
            assert info["last"] == (strip == job["strips"] - 1)
        await RisingEdge(dut.clk)
        dut.tile_ready.value = 0
        await ClockCycles(dut.clk, FEED_LATENCY - 1)
    await ReadOnly()
    assert int(dut.busy.value) == (limit is not None)
    await RisingEdge(dut.clk)


async def resets(dut):
    """Break off whatever runs."""
    dut.rst.value = 1
    await RisingEdge(dut.clk)
    dut.rst.value = 0
    await ReadOnly()
    assert int(dut.busy.value) == 0
    await RisingEdge(dut.clk)


@cocotb.test()
@cocotb.parametrize(size=[(1024, 1), (1, 512)])
async def long_jobs_are_counted_to_their_end(dut, size):
    rng = seeded()
    await start(dut)
    cocotb.start_soon(watchdog(dut, 200_000))
    strips, blocks = (number + (number > 1) * rng.randrange(16) for number in size)
    job, wanted = row_job(rng, Dest.LOGITS, (CONFIG.groups * strips, 0, 0), blocks)
    await runs_steadily(dut, job, wanted)


@cocotb.test()
@cocotb.parametrize(section=[0, 1, 2])
async def no_bit_of_the_number_of_strips_is_lost(dut, section):
    rng = seeded()
    await start(dut)
    cocotb.start_soon(watchdog(dut, 100_000))
    for bit in range(3, 16):
        # Were the bit lost, the section and the job would end soon.
        strips = [1, 1, 1]
        strips[section] = (1 << bit) + rng.randrange(1, 3)
        job, wanted = row_job(rng, Dest.QKV, strips, 1)
        await runs_steadily(dut, job, wanted, limit=8 * CONFIG.own_subs // CONFIG.groups)
        await resets(dut)


@cocotb.test()
async def no_bit_of_the_number_of_blocks_is_lost(dut):
    rng = seeded()
    await start(dut)
    cocotb.start_soon(watchdog(dut, 100_000))
    for bit in range(4, 12):
        job, wanted = row_job(rng, Dest.RESIDUAL, (4, 0, 0), (1 << bit) + rng.randrange(1, 16))
        await runs_steadily(dut, job, wanted, limit=16)
        await resets(dut)
