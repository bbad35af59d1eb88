"""Bench for `hw.attention`: the order of its jobs, among units that take their time."""

import random

import cocotb
from cocotb.triggers import ReadOnly, RisingEdge

from hw.attention import Attention
from hw.jobs import Dest
from hw.operator_word import operator_layout
from hw.spec.config import ArchConfig
from hw.spec.formats import BLOCK_LEN
from tests.hw.vector_stream import seeded
from tests.support.bench import STALLS, obeys_rules, pack, params, start, unpack, watchdog

CONFIG = ArchConfig(**params()["config"])
DUT = Attention(CONFIG)
JOB = DUT.o_job.payload.shape()
WORD = operator_layout("attention")


class Neighbours:
    """Units that are busy for a while after they are started; keeps what happens, in order."""

    def __init__(self, dut, stall, longest):
        self.dut = dut
        self.idle = stall()
        self.rng = random.Random(longest)
        self.longest = longest
        self.left = dict.fromkeys(("exponents", "scores", "results", "collecting"), 0)
        self.events = []
        cocotb.start_soon(self._run())

    async def _run(self):
        dut = self.dut
        wait = next(self.idle)
        while True:
            dut.exponents_busy.value = int(self.left["exponents"] > 0)
            dut.scores_busy.value = int(self.left["scores"] > 0)
            dut.results_busy.value = int(self.left["results"] > 0)
            dut.scores_collecting.value = int(self.left["collecting"] > 0)
            dut.o_job__ready.value = int(not wait)
            await ReadOnly()
            started = {
                name: int(getattr(dut, f"{name}_start").value) for name in ("exponents", "scores")
            }
            job = None
            if int(dut.o_job__valid.value):
                if not wait:
                    job = unpack(JOB, int(dut.o_job__payload.value))
                wait = next(self.idle) if not wait else wait - 1
            busy = {name for name, left in self.left.items() if left}
            await RisingEdge(dut.clk)
            self.left = {name: max(0, left - 1) for name, left in self.left.items()}
            for name, value in started.items():
                if value:
                    self._starts(name, name, busy)
            if job is not None:
                self._starts(job, "results", busy)
                # Scores linger on their way to the maximum for longer than in the drain.
                if job["dest"] == Dest.SCORES.value:
                    self.left["collecting"] = self.left["results"] + self.rng.randrange(5)

    def _starts(self, event, unit, busy):
        assert not busy, f"{event} while {busy} is busy"
        self.events.append(event)
        self.left[unit] = self.rng.randrange(1, self.longest + 1)


def expected_events(word, first_pos, rows):
    """Return what an attention operator does, as nested loops."""
    together = word["group"] * rows <= CONFIG.max_rows
    chunks, heads = (1, word["group"]) if together else (word["group"], 1)
    positions = -(-(first_pos + rows) // BLOCK_LEN)
    # The slow way: which blocks hold a position that some row sees.
    seen = [
        pos // BLOCK_LEN
        for row in range(first_pos, first_pos + rows)
        for pos in range(row + 1)
        if not word["window"] or pos > row - word["window"]
    ]
    step = max(1, CONFIG.align_bytes // BLOCK_LEN)
    first = min(seen) // step * step
    assert max(seen) == positions - 1
    visited = positions - first
    common = {"heads": heads, "head_rows": rows, "head_blocks": word["head_blocks"]}
    query = 0
    events = []
    for _ in range(word["kv_heads"]):
        events.append("exponents")
        for _ in range(chunks):
            jobs = [
                {
                    "dest": Dest.SCORES,
                    "strips": visited,
                    "blocks": word["head_blocks"],
                    "src": word["q_src"] + query,
                    "shift1_0": word["shift"],
                },
                {
                    "dest": Dest.VALUES,
                    "strips": word["head_blocks"],
                    "blocks": visited,
                    "dst": word["dst"] + query,
                },
            ]
            scores, values = (unpack(JOB, pack(JOB, common | job)) for job in jobs)
            events += [scores, "scores", values]
            query += heads * word["head_blocks"]
    outputs = {
        "pos_blocks": positions,
        "chunks": chunks,
        "chunk_heads": heads,
        "first_block": first,
        "visited_blocks": visited,
        "visited_pos": first_pos - first * BLOCK_LEN,
        "window": min(word["window"] or CONFIG.max_context, CONFIG.max_context),
    }
    return events, outputs


async def run(dut, neighbours, word, first_pos, rows):
    neighbours.events.clear()
    dut.word.value = pack(WORD, word)
    dut.first_pos.value = first_pos
    dut.rows.value = rows
    dut.start.value = 1
    await ReadOnly()
    assert int(dut.busy.value)
    await RisingEdge(dut.clk)
    dut.start.value = 0
    expected, outputs = expected_events(word, first_pos, rows)
    while True:
        await ReadOnly()
        busy = int(dut.busy.value)
        if busy:
            got = {name: int(getattr(dut, name).value) for name in outputs}
            assert got == outputs
        await RisingEdge(dut.clk)
        if not busy:
            break
    assert neighbours.events == expected
    assert not any(neighbours.left.values()), "over before its results are"


def word_of(rng, **changes):
    return {
        "q_src": rng.choice((0, 3, 500)),
        "dst": rng.choice((0, 7, 500)),
        "head_blocks": rng.randrange(1, 3),
        "kv_heads": rng.randrange(1, 4),
        "group": rng.randrange(1, CONFIG.max_rows + 1),
        "shift": rng.choice((0, 63, 20)),
        "kv_offset": rng.getrandbits(32),
        "head_stride": rng.getrandbits(32),
        "window": rng.choice((0, 1, rng.randrange(1, CONFIG.max_context + 1), (1 << 32) - 1)),
    } | changes


@cocotb.test()
@cocotb.parametrize(stall=list(STALLS), longest=[1, 9])
async def order_equals_nested_loops(dut, stall, longest):
    rng = seeded()
    await start(dut)
    cocotb.start_soon(watchdog(dut, 20_000))
    cocotb.start_soon(obeys_rules(dut, "o_job"))
    neighbours = Neighbours(dut, STALLS[stall], longest)
    most = CONFIG.max_rows
    cases = [
        (word_of(rng, group=1), 0, 1),
        (word_of(rng, group=most), 0, 1),  # just together
        (word_of(rng, group=2), 31, most // 2),
        (word_of(rng, group=2), 0, most // 2 + 1),  # just not
        (word_of(rng, group=most), CONFIG.max_context - most, most),
        *(
            (word_of(rng), rng.randrange(CONFIG.max_context - most), rng.randrange(1, most + 1))
            for _ in range(8)
        ),
    ]
    for case in cases:
        await run(dut, neighbours, *case)


@cocotb.test()
@cocotb.parametrize(first_pos=[0, 30, 31, 32, CONFIG.max_context - 1])
async def blocks_of_positions_are_those_in_use(dut, first_pos):
    await start(dut)
    cocotb.start_soon(watchdog(dut, 2000))
    neighbours = Neighbours(dut, STALLS["never"], 2)
    await run(dut, neighbours, word_of(seeded()), first_pos, 1)


@cocotb.test()
@cocotb.parametrize(rows=[1, CONFIG.max_rows])
async def blocks_before_the_window_are_left_out(dut, rows):
    """Windows of every length, from the positions around a block's ends."""
    await start(dut)
    cocotb.start_soon(watchdog(dut, 100_000))
    neighbours = Neighbours(dut, STALLS["never"], 1)
    last = CONFIG.max_context - rows
    for first_pos in (0, 31, 64, 65, last):
        for window in (*range(1, CONFIG.max_context + 3), 1 << 16, 1 << 31):
            word = word_of(seeded(), window=window, kv_heads=1, group=1)
            await run(dut, neighbours, word, min(first_pos, last), rows)


@cocotb.test()
async def widest_word_counts_to_its_end(dut):
    """255 KV heads, and as many blocks as the activation memory's addresses reach."""
    await start(dut)
    cocotb.start_soon(watchdog(dut, 10_000))
    neighbours = Neighbours(dut, STALLS["never"], 1)
    word = word_of(seeded(), kv_heads=255, group=2, head_blocks=2, q_src=3, dst=0)
    await run(dut, neighbours, word, 0, 1)
