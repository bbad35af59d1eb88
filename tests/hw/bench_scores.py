"""Bench for `hw.scores`."""

import random

import cocotb
import numpy as np
from cocotb.triggers import ReadOnly, RisingEdge

from hw.jobs import Dest, RowScale
from hw.scores import Scores
from hw.spec.config import ArchConfig
from hw.spec.formats import BLOCK_LEN, SCORE_WIDTH
from sim.golden.attention import reciprocal
from sim.golden.softmax import MASKED, softmax
from tests.hw.vector_stream import noise, numbers, seeded
from tests.support.bench import STALLS, cycle, params, sends, start, unpack, watchdog

CONFIG = ArchConfig(**params()["config"])
DUT = Scores(CONFIG)
I_SCORE = DUT.i_score.payload.shape()
PROB = DUT.prob.shape()
#: What `expect` is given with.
FIELDS = ("half", "first_pos", "window", "heads", "head_rows", "pos_blocks")
LANES, BEATS = CONFIG.lanes, CONFIG.beats
HIGH = (1 << (SCORE_WIDTH - 1)) - 1


class Work:
    """Scores of all rows of a chunk of heads, and what golden makes of them."""

    def __init__(self, rng, *, first_pos, heads, head_rows, window=CONFIG.max_context, half=0):
        self.half, self.base = half, half * (CONFIG.max_rows // 2)
        self.first_pos, self.heads, self.head_rows = first_pos, heads, head_rows
        self.window = window
        self.rng = rng
        self.rows = heads * head_rows
        self.pos_blocks = -(-(first_pos + head_rows) // BLOCK_LEN)
        count = self.pos_blocks * BLOCK_LEN
        self.scores = [self._row(rng, row, count) for row in range(self.rows)]
        masked = np.full((self.rows, count), MASKED)
        for row, scores in enumerate(self.scores):
            seen = self._seen(row)
            masked[row, seen] = scores[seen]
        self.probs, sums = softmax(masked)
        multiplier, shift1, shift2 = reciprocal(sums)
        self.scales = [
            {"shift1": int(shift1[row]), "reciprocal": int(multiplier[row]),
             "shift2": int(shift2[row])}
            for row in range(self.rows)
        ]  # fmt: skip

    def _seen(self, row):
        limit = self.first_pos + row % self.head_rows + 1
        return slice(max(0, limit - self.window), limit)

    def _row(self, rng, row, count):
        """Return scores; those that the row does not see are often the largest."""
        kind = rng.randrange(4)
        if kind == 0:
            scores = numbers(rng, SCORE_WIDTH, count)
        elif kind == 1:
            scores = [rng.choice((-HIGH, HIGH, 0))] * count
        else:
            top = rng.choice((HIGH, 0, rng.randrange(-HIGH // 2, HIGH)))
            scores = [top - rng.randrange(5000) for _ in range(count)]
        seen = self._seen(row)
        first, last = seen.start, seen.stop - 1
        if rng.random() < 0.7:
            scores[last + 1 :] = [HIGH] * (count - last - 1)
            scores[:first] = [HIGH] * first
        # The largest that is seen is often where an off-by-one would lose or gain it.
        if rng.random() < 0.7:
            scores[rng.choice((first, last, rng.randrange(first, last + 1)))] = HIGH - 1
        return [max(-HIGH, score) for score in scores]

    def beats(self):
        """Return what `Drain` sends: strip by strip, row by row."""
        return [
            {
                "data": self.scores[row][at : at + LANES],
                "meta": noise(self.rng, I_SCORE["meta"].shape)
                | {
                    "dest": self.rng.choice(list(Dest)),
                    "index": self.base + row,
                    "half": self.half,
                    "last": int(
                        (strip, row, beat) == (self.pos_blocks - 1, self.rows - 1, BEATS - 1)
                    ),
                    "head_row": row % self.head_rows,
                    "strip": strip,
                    "beat": beat,
                },
            }
            for strip in range(self.pos_blocks)
            for row in range(self.rows)
            for beat in range(BEATS)
            for at in [(strip * BEATS + beat) * LANES]
        ]


async def feed(dut, work, stall):
    """Announce a chunk and send its scores, with the documented gap between those of one row."""
    for name in FIELDS:
        getattr(dut, name).value = getattr(work, name)
    dut.expect.value = 1
    await RisingEdge(dut.clk)
    dut.expect.value = 0
    for name in FIELDS:
        port = getattr(dut, name)
        port.value = work.rng.getrandbits(len(port))
    beats = work.beats()
    per_strip = len(beats) // work.pos_blocks
    for at in range(0, len(beats), per_strip):
        await sends(dut, "i_score", I_SCORE, beats[at : at + per_strip], stall=stall)
        if at + per_strip < len(beats):
            for _ in range(max(0, DUT.STRIP_GAP - (per_strip - BEATS))):
                await RisingEdge(dut.clk)


async def completes(dut, half):
    """Wait for a half's probabilities; return the cycles until ``busy`` rises, and it is high."""
    first, rise = cycle(), None
    while True:
        await ReadOnly()
        ready, busy, now = int(dut.ready.value) >> half & 1, int(dut.busy.value), cycle()
        await RisingEdge(dut.clk)
        if busy and rise is None:
            rise = now
        if ready:
            return (rise or now) - first, now - (rise or now)


async def checks(dut, work):
    """Read all probabilities and scales, one each cycle."""
    parts = CONFIG.feed_parts
    places = [(row, part) for row in range(work.rows) for part in range(work.pos_blocks * parts)]
    dut.scale_en.value = 1
    for number in range(len(places) + 1):
        if number < len(places):
            row, part = places[number]
            dut.prob_row.value = work.base + row
            dut.prob_block.value, dut.prob_part.value = divmod(part, parts)
            dut.scale_row.value = work.base + row
        await ReadOnly()
        if number:
            row, part = places[number - 1]
            got = unpack(PROB, int(dut.prob.value))
            want = work.probs[row, part * CONFIG.feed_len :][: CONFIG.feed_len].tolist()
            assert got == want, f"row {row}, part {part}: {got}, expected {want}"
            scale = unpack(RowScale, int(dut.scale.value))
            assert scale == work.scales[row], f"scale of row {row}: {scale}, not {work.scales[row]}"
        await RisingEdge(dut.clk)
    # The scale stays where nothing is asked for.
    dut.scale_en.value = 0
    dut.scale_row.value = 0
    await RisingEdge(dut.clk)
    await ReadOnly()
    assert unpack(RowScale, int(dut.scale.value)) == work.scales[-1]
    await RisingEdge(dut.clk)


async def runs(dut, work, stall="never"):
    """Run a chunk while nothing else goes on, and check how long that takes."""
    await feed(dut, work, STALLS[stall])
    cycles = await completes(dut, work.half)
    # The first cycle of both is that after the last beat.
    busy = DUT.softmax_cycles(rows=work.rows, pos_blocks=work.pos_blocks)
    assert cycles == (DUT.maximum_cycles - 1, busy)
    await checks(dut, work)
    await ReadOnly()
    assert not int(dut.busy.value)
    await RisingEdge(dut.clk)


async def ready_falls_as_documented(dut):
    """Watch for ever that a half's bit falls where scores are expected there, and nowhere else."""
    before = expected = 0
    while True:
        await ReadOnly()
        now = int(dut.ready.value)
        assert before & ~now == before & expected, f"ready fell from {before} to {now}"
        before, expected = now, int(dut.expect.value) << int(dut.half.value)
        await RisingEdge(dut.clk)


async def prepare(dut, cycles=40_000):
    await start(dut)
    cocotb.start_soon(watchdog(dut, cycles))


@cocotb.test()
@cocotb.parametrize(stall=list(STALLS))
async def probabilities_and_scales_equal_golden(dut, stall):
    rng = seeded()
    await prepare(dut)
    most, context = CONFIG.max_rows, CONFIG.max_context
    sizes = [
        (0, 1, 1),
        (0, most, 1),
        (31, 2, most // 2),
        (context - most, 1, most),
        (context - 1, most, 1),
        (BLOCK_LEN - 2, 2, 3),
        *((rng.randrange(context - most), 2, rng.randrange(1, most // 2 + 1)) for _ in range(4)),
    ]
    for first_pos, heads, head_rows in sizes:
        half = rng.randrange(2) if heads * head_rows <= most // 2 else 0
        work = Work(rng, first_pos=first_pos, heads=heads, head_rows=head_rows, half=half)
        await runs(dut, work, stall)


@cocotb.test()
async def later_positions_never_reach_the_maximum(dut):
    """Every position of a strip is once the last that is seen."""
    rng = seeded()
    await prepare(dut)
    for first_pos in range(BLOCK_LEN):
        await runs(dut, Work(rng, first_pos=first_pos, heads=1, head_rows=1))


@cocotb.test()
@cocotb.parametrize(window=[1, 2, LANES, BLOCK_LEN - 1, BLOCK_LEN, BLOCK_LEN + 5])
async def positions_before_the_window_are_not_seen(dut, window):
    """In passes of many rows, each of which begins to see somewhere else."""
    rng = seeded()
    await prepare(dut)
    most, context = CONFIG.max_rows, CONFIG.max_context
    passes = [(0, 1, most), (BLOCK_LEN - 3, 2, most // 2), (context - most, 1, most)]
    passes += [(rng.randrange(context - most), 2, most // 2) for _ in range(4)]
    for first_pos, heads, head_rows in passes:
        sizes = {"first_pos": first_pos, "heads": heads, "head_rows": head_rows}
        await runs(dut, Work(rng, **sizes, window=window), "one_in_four")


@cocotb.test()
@cocotb.parametrize(rows=[1, CONFIG.max_rows])
async def softmax_takes_as_long_as_documented(dut, rows):
    rng = seeded()
    await prepare(dut)
    for pos_blocks in range(1, CONFIG.max_context // BLOCK_LEN + 1):
        first_pos = pos_blocks * BLOCK_LEN - 1
        await runs(dut, Work(rng, first_pos=first_pos, heads=rows, head_rows=1))


@cocotb.test()
@cocotb.parametrize(seed=range(3))
async def halves_do_not_disturb_each_other(dut, seed):
    """Scores of one half come while the softmax of the other runs, or waits for it."""
    print(f"seed {seed}")
    rng = random.Random(seed)
    await prepare(dut, 60_000)
    cocotb.start_soon(ready_falls_as_documented(dut))
    most, before = CONFIG.max_rows // 2, None
    for number in range(16):
        heads = rng.randrange(1, most + 1)
        rows = rng.randrange(1, most // heads + 1)
        first_pos = rng.choice((0, 5, rng.randrange(CONFIG.max_context - rows)))
        window = rng.choice((1, BLOCK_LEN + 3, CONFIG.max_context))
        sizes = {"first_pos": first_pos, "heads": heads, "head_rows": rows, "window": window}
        work = Work(rng, **sizes, half=number % 2)
        await feed(dut, work, STALLS["never"])
        if before:
            await completes(dut, before.half)
            await checks(dut, before)
            if rng.randrange(2):
                await completes(dut, work.half)
                await checks(dut, work)
                await checks(dut, before)
        before = work
    await completes(dut, before.half)
    await checks(dut, before)
    assert not int(dut.busy.value)


@cocotb.test()
async def scores_are_taken_at_once(dut):
    await start(dut)
    await ReadOnly()
    assert int(dut.i_score__ready.value)
    assert not int(dut.busy.value)
