"""Bench for `hw.attention`: the order of its jobs, among units that take their time."""

import random

import cocotb
from cocotb.triggers import ReadOnly, RisingEdge

from hw.attention import Attention
from hw.jobs import Dest, segment_layout
from hw.operator_word import operator_layout
from hw.spec.config import ArchConfig
from tests.hw.read_port import serves
from tests.hw.segments import random_segments, visited_span
from tests.hw.vector_stream import seeded
from tests.support.bench import STALLS, obeys_rules, pack, params, start, unpack, watchdog

CONFIG = ArchConfig(**params()["config"])
DUT = Attention(CONFIG)
JOB = DUT.o_job.payload.shape()
WORD = operator_layout("attention")
SEGMENT = segment_layout(CONFIG)
TOP = (1 << 32) - 1
#: What the units learn of a segment.
LEARNT = ("rows", "first_pos", *DUT.SPAN, "chunks", "chunk_heads")


class Neighbours:
    """Units that are busy for a while after they are started.

    Keeps what happens, in order, each with what the units are told; that holds while they work.
    """

    def __init__(self, dut, stall, longest):
        self.dut = dut
        self.idle = stall()
        self.rng = random.Random(longest)
        self.longest = longest
        self.left = dict.fromkeys(("exponents", "scores", "results", "collecting"), 0)
        self.events = []
        self.segments = {}
        cocotb.start_soon(serves(dut, SEGMENT, "segment", self.segments, addr="segment_index"))
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
            told = {name: int(getattr(dut, name).value) for name in LEARNT}
            started = {
                name: int(getattr(dut, f"{name}_start").value) for name in ("exponents", "scores")
            }
            job = None
            if int(dut.o_job__valid.value):
                if not wait:
                    job = unpack(JOB, int(dut.o_job__payload.value))
                wait = next(self.idle) if not wait else wait - 1
            busy = {name for name, left in self.left.items() if left}
            if busy:
                assert told == self.events[-1][1], f"{busy} are told something else"
            await RisingEdge(dut.clk)
            self.left = {name: max(0, left - 1) for name, left in self.left.items()}
            for name, value in started.items():
                if value:
                    self._starts(name, name, busy, told)
            if job is not None:
                self._starts(job, "results", busy, told)
                # Scores linger on their way to the maximum for longer than in the drain.
                if job["dest"] == Dest.SCORES.value:
                    self.left["collecting"] = self.left["results"] + self.rng.randrange(5)

    def _starts(self, event, unit, busy, told):
        assert not busy, f"{event} while {busy} is busy"
        self.events.append((event, told))
        self.left[unit] = self.rng.randrange(1, self.longest + 1)


def expected_events(word, segment):
    """Return what an attention operator does for a segment, as nested loops."""
    rows = segment["rows"]
    span = visited_span(CONFIG, segment, window=word["window"], group=word["group"])
    chunks, heads = (1, word["group"]) if span.pop("together") else (word["group"], 1)
    common = {
        "heads": heads,
        "head_rows": rows,
        "head_blocks": word["head_blocks"],
        "row0": segment["row0"],
    }
    query = 0
    events = []
    for _ in range(word["kv_heads"]):
        events.append("exponents")
        for _ in range(chunks):
            jobs = [
                {
                    "dest": Dest.SCORES,
                    "strips": span["visited_blocks"],
                    "blocks": word["head_blocks"],
                    "src": word["q_src"] + query,
                    "shift1_0": word["shift"],
                },
                {
                    "dest": Dest.VALUES,
                    "strips": word["head_blocks"],
                    "blocks": span["visited_blocks"],
                    "dst": word["dst"] + query,
                },
            ]
            scores, values = (unpack(JOB, pack(JOB, common | job)) for job in jobs)
            events += [scores, "scores", values]
            query += heads * word["head_blocks"]
    told = span | {"chunks": chunks, "chunk_heads": heads}
    told |= {name: segment[name] for name in ("rows", "first_pos")}
    return [(event, told) for event in events]


async def run(dut, neighbours, word, segments):
    neighbours.events.clear()
    neighbours.segments.clear()
    neighbours.segments |= dict(enumerate(segments))
    dut.word.value = pack(WORD, word)
    dut.segments.value = len(segments)
    dut.start.value = 1
    await ReadOnly()
    assert int(dut.busy.value)
    await RisingEdge(dut.clk)
    dut.start.value = 0
    while True:
        await ReadOnly()
        busy = int(dut.busy.value)
        await RisingEdge(dut.clk)
        if not busy:
            break
    expected = [event for segment in segments for event in expected_events(word, segment)]
    assert neighbours.events == expected
    assert not any(neighbours.left.values()), "over before its results are"


def segment_of(first_pos, rows, **changes):
    return {"slot": 0, "row0": 0, "rows": rows, "first_pos": first_pos, "emit": 0} | changes


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
        "window": rng.choice((0, 1, rng.randrange(1, CONFIG.max_context + 1), TOP)),
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
        (word_of(rng, group=1), [segment_of(0, 1)]),
        (word_of(rng, group=most), [segment_of(0, 1, row0=most - 1)]),  # just together
        (word_of(rng, group=2), [segment_of(31, most // 2)]),
        (word_of(rng, group=2), [segment_of(0, most // 2 + 1)]),  # just not
        (word_of(rng, group=most), [segment_of(CONFIG.max_context - most, most)]),
        *((word_of(rng, group=group), random_segments(rng, CONFIG)) for group in (1, 2, 3, 4)),
    ]
    for case in cases:
        await run(dut, neighbours, *case)


@cocotb.test()
async def sequences_come_one_after_the_other(dut):
    """As many as there may be: with a row each, or all rows but theirs for one of them."""
    rng = seeded()
    await start(dut)
    cocotb.start_soon(watchdog(dut, 40_000))
    neighbours = Neighbours(dut, STALLS["never"], 2)
    count, most = CONFIG.max_seqs, CONFIG.max_rows
    for long in (None, 0, count - 1):
        rows = [most - count + 1 if index == long else 1 for index in range(count)]
        segments = random_segments(rng, CONFIG, rows=rows)
        assert len({segment["slot"] for segment in segments}) == count
        await run(dut, neighbours, word_of(rng, kv_heads=2, group=2), segments)


@cocotb.test()
@cocotb.parametrize(first_pos=[0, 30, 31, 32, CONFIG.max_context - 1])
async def blocks_of_positions_are_those_in_use(dut, first_pos):
    await start(dut)
    cocotb.start_soon(watchdog(dut, 2000))
    neighbours = Neighbours(dut, STALLS["never"], 2)
    await run(dut, neighbours, word_of(seeded()), [segment_of(first_pos, 1)])


@cocotb.test()
@cocotb.parametrize(rows=[1, CONFIG.max_rows - CONFIG.max_seqs + 1])
async def blocks_before_the_window_are_left_out(dut, rows):
    """Windows of every length, from the positions around a block's ends, in one pass."""
    rng = seeded()
    await start(dut)
    cocotb.start_soon(watchdog(dut, 200_000))
    neighbours = Neighbours(dut, STALLS["never"], 1)
    last = CONFIG.max_context - rows
    places = (0, 31, 64, 65, last)[-CONFIG.max_seqs :]
    for window in (*range(1, CONFIG.max_context + 3), 1 << 16, 1 << 31):
        counts = [1] * len(places)
        counts[rng.randrange(len(places))] = rows
        segments = random_segments(rng, CONFIG, rows=counts)
        for segment, first_pos in zip(segments, places, strict=True):
            segment["first_pos"] = min(first_pos, CONFIG.max_context - segment["rows"])
        word = word_of(rng, window=window, kv_heads=1, group=1, head_blocks=1)
        await run(dut, neighbours, word, segments)


@cocotb.test()
async def widest_word_counts_to_its_end(dut):
    """255 KV heads, and as many blocks as the activation memory's addresses reach."""
    await start(dut)
    cocotb.start_soon(watchdog(dut, 20_000))
    neighbours = Neighbours(dut, STALLS["never"], 1)
    word = word_of(seeded(), kv_heads=255, group=2, head_blocks=2, q_src=3, dst=0)
    await run(dut, neighbours, word, [segment_of(0, 1), segment_of(0, 1, row0=1)])
