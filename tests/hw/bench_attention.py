"""Bench for `hw.attention`: the order of its jobs, among units that take their time."""

import random

import cocotb
from cocotb.triggers import ReadOnly, RisingEdge

from hw.attention import Attention
from hw.attention_order import Phase
from hw.jobs import Dest, segment_layout
from hw.operator_word import operator_layout
from hw.spec.config import ArchConfig
from tests.hw.read_port import serves
from tests.hw.segments import attention_steps, random_segments
from tests.hw.vector_stream import noise, seeded
from tests.support.bench import STALLS, obeys_rules, pack, params, start, unpack, watchdog

CONFIG = ArchConfig(**params()["config"])
DUT = Attention(CONFIG)
JOB = DUT.o_job.payload.shape()
WORD = operator_layout("attention")
SEGMENT = segment_layout(CONFIG)
TOP = (1 << 32) - 1
ITEM = DUT.item.shape()
SPAN = ("pos_blocks", "first_block", "visited_blocks", "visited_pos", "seen")


class Neighbours:
    """Units that are busy for a while after they are started.

    Keeps what happens, in order: exponents and expected scores, each with the item that the unit is
    told, which holds for exponents while they come; and jobs.
    """

    def __init__(self, dut, stall, longest):
        self.dut = dut
        self.idle = stall()
        self.rng = random.Random(longest)
        self.longest = longest
        self.left = dict.fromkeys(("exponents", "taking", "results", 0, 1), 0)
        self.events = []
        self.segments = {}
        cocotb.start_soon(serves(dut, SEGMENT, "segment", self.segments, addr="segment_index"))
        cocotb.start_soon(self._run())

    async def _run(self):
        dut = self.dut
        wait = next(self.idle)
        while True:
            dut.exponents_busy.value = int(self.left["exponents"] > 0)
            dut.taking.value = int(self.left["taking"] > 0)
            dut.results_busy.value = int(self.left["results"] > 0)
            dut.scores_ready.value = int(not self.left[0]) | int(not self.left[1]) << 1
            ready = not wait and not self.left["taking"]
            dut.o_job__ready.value = int(ready)
            await ReadOnly()
            item = unpack(ITEM, int(dut.item.value))
            starts, expects = int(dut.exponents_start.value), int(dut.scores_expect.value)
            job = None
            if int(dut.o_job__valid.value):
                if ready:
                    job = unpack(JOB, int(dut.o_job__payload.value))
                    wait = next(self.idle)
                wait = max(0, wait - 1)
            if self.left["exponents"]:
                assert item == self.events[-1]["item"], "exponents are told something else"
            left = self.left
            await RisingEdge(dut.clk)
            self.left = {name: max(0, left - 1) for name, left in self.left.items()}
            if starts:
                assert not left["exponents"], "exponents while others come"
                assert not left["taking"], "exponents while a job takes words"
                self.events.append({"item": item, "alone": not left["results"]})
                self.left["exponents"] = self._while()
            if job is not None:
                assert not left["exponents"], "a job while exponents come"
                self._begins(job, item, expects, left)
            else:
                assert not expects, "scores are expected of no job"

    def _while(self):
        return self.rng.randrange(1, self.longest + 1)

    def _begins(self, job, item, expects, left):
        half = job["half"]
        if job["dest"] == Dest.SCORES.value:
            assert expects, "nobody expects the scores"
            self.left[half] = 3 + 2 * self._while()
        else:
            assert not expects, "probabilities are no scores"
            assert not left[half], "P.V before its probabilities"
        self.events.append(job | {"item": item})
        self.left["taking"] = self._while()
        self.left["results"] = self.left["taking"] + self._while()


def expected_events(word, segments):
    """Return what an attention operator does, as nested loops."""
    events = []
    for phase, step in attention_steps(CONFIG, segments, word):
        segment, span = step["segment"], step["span"]
        learnt = {name: span[name] for name in SPAN} | {"heads": step["heads"]}
        if phase == Phase.EXPONENTS:
            events.append({"item": learnt | {"segment": segment}})
            continue
        job = {
            "heads": step["heads"],
            "head_rows": segment["rows"],
            "head_blocks": word["head_blocks"],
            "row0": segment["row0"],
            "first_block": span["first_block"],
        }
        if phase == Phase.KEYS:
            job |= {
                "dest": Dest.SCORES,
                "strips": span["visited_blocks"],
                "blocks": word["head_blocks"],
                "src": word["q_src"] + step["query_block"],
                "shift1_0": word["shift"],
            }
        else:
            job |= {
                "dest": Dest.VALUES,
                "strips": word["head_blocks"],
                "blocks": span["visited_blocks"],
                "dst": word["dst"] + step["query_block"],
            }
        events.append(unpack(JOB, pack(JOB, job)) | {"item": learnt | {"segment": segment}})
    return events


def places(item):
    """Return the rows of scores, and the banks of exponents, that an item takes."""
    most, rows = CONFIG.max_rows, item["segment"]["rows"]
    first, chunk = item["half"] * most // 2, item["heads"] * rows
    banks = (
        {item["value_bank"]}
        if chunk <= most // 2
        else {item["value_bank"] // 2 * 2 + n for n in (0, 1)}
    )
    return set(range(first, first + chunk)), banks


def checks_places(events):
    """Nothing is overwritten that a later P.V, or one whose results are on their way, reads."""
    waiting, drains, loaded = [], set(), None
    for event in events:
        item = event["item"]
        rows, banks = places(item)
        assert max(rows) < CONFIG.max_rows
        if "dest" not in event:
            others = set() if event["alone"] else drains
            assert not banks & others.union(*(places(other)[1] for other in waiting)), banks
            assert all(item["value_bank"] % 2 != other["value_bank"] % 2 for other in waiting)
            loaded = item["value_bank"]
            continue
        assert (event["half"], event["value_bank"]) == (item["half"], item["value_bank"])
        if event["dest"] == Dest.SCORES.value:
            assert item["value_bank"] == loaded
            assert not any(rows & places(other)[0] for other in waiting)
            waiting.append(item)
        else:
            assert item == waiting.pop(0)
            drains = banks


def stripped(events):
    """Return events without places in memories, which `checks_places` looks at."""
    kept = []
    for event in events:
        item = event["item"]
        item = {name: item[name] for name in (*SPAN, "heads", "segment")}
        fields = ("half", "value_bank", "alone")
        kept.append({k: v for k, v in event.items() if k not in fields} | {"item": item})
    return kept


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
    assert stripped(neighbours.events) == stripped(expected_events(word, segments))
    checks_places(neighbours.events)
    assert not neighbours.left["results"], "over before its results are"


def segment_of(first_pos, rows, **changes):
    return {"slot": 0, "row0": 0, "rows": rows, "first_pos": first_pos, "emit": 0} | changes


def word_of(rng, **changes):
    """Return an operator's word; the fields that are not attention's hold anything."""
    return (
        noise(rng, WORD)
        | {
            "q_src": rng.choice((0, 3, 500, 520)),
            "dst": rng.choice((0, 7, 500, 520)),
            "head_blocks": rng.randrange(1, 3),
            "kv_heads": rng.randrange(1, 4),
            "group": rng.randrange(1, CONFIG.max_rows + 1),
            "shift": rng.choice((0, 63, 20)),
            "kv_offset": rng.getrandbits(32),
            "head_stride": rng.getrandbits(32),
            "window": rng.choice((0, 1, rng.randrange(1, CONFIG.max_context + 1), TOP)),
        }
        | changes
    )


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
        *((word_of(rng, group=group), random_segments(rng, CONFIG)) for group in (1, 2, 3, 4, 8)),
        (word_of(rng, group=2), [segment_of(9, rows) for rows in (1, most - 2, 1)]),
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
