"""Bench for `hw.softmax`."""

import cocotb
import numpy as np
from cocotb.triggers import ReadOnly, RisingEdge

from hw.softmax import Softmax
from hw.spec.formats import SCORE_WIDTH
from sim.golden.attention import reciprocal
from sim.golden.softmax import MASKED, softmax
from tests.hw.read_port import serves
from tests.hw.vector_stream import Unit, numbers, seeded
from tests.support.bench import STALLS, cycle, params, unpack

LANES, MAX_ROWS, MAX_CONTEXT = (params()[name] for name in ("lanes", "max_rows", "max_context"))
DUT = Softmax(lanes=LANES, max_rows=MAX_ROWS, max_context=MAX_CONTEXT)
UNIT = Unit(DUT, "i_job", "o_row")
HIGH = (1 << (SCORE_WIDTH - 1)) - 1


def score_row(rng, kind, count):
    """Return scores: of all sizes, all alike, near the largest, around the last octave, or far off.

    Those far off would have a probability but for one bit of their distance.
    """
    if kind == 0:
        return numbers(rng, SCORE_WIDTH, count)
    if kind == 1:
        return [rng.choice((-HIGH, HIGH, 0))] * count
    top = rng.choice((HIGH, 0, rng.randrange(-HIGH // 2, HIGH)))
    if kind == 2:
        return [top - rng.randrange(2500) for _ in range(count)]
    if kind == 3:
        return [top - rng.choice((0, 15 * 256, 15 * 256 - 1, 14 * 256, 4000)) for _ in range(count)]
    near = [rng.randrange(2500) for _ in range(count)]
    far = [rng.choice((0, 1 << rng.randrange(12, SCORE_WIDTH))) for _ in range(count)]
    return [max(-HIGH, HIGH - n - f) for n, f in zip(near, far, strict=True)]


def jobs(count, *, beats=None):
    """Return jobs, their results, the probabilities as written, and the score words."""
    rng = seeded()
    kinds = rng.sample(range(5), 5)
    rows = [score_row(rng, kinds[row % 5], MAX_CONTEXT) for row in range(MAX_ROWS)]
    words = {
        (row, beat): z[beat * LANES : (beat + 1) * LANES]
        for row, z in enumerate(rows)
        for beat in range(MAX_CONTEXT // LANES)
    }
    payloads, results, writes = [], [], []
    for number in range(count):
        row = number % MAX_ROWS
        limit = rng.choice((
            1,
            MAX_CONTEXT,
            rng.randrange(1, MAX_CONTEXT + 1),
            rng.randrange(1, 70),
        ))
        limit = min(limit, beats * LANES if beats else MAX_CONTEXT)
        first = rng.choice((0, limit - 1, rng.randrange(limit), max(0, limit - 33)))
        # Some words behind the limit may be visited too.
        least = -(-limit // LANES)
        visited = beats or min(least + rng.choice((0, 0, 1, 7)), MAX_CONTEXT // LANES)
        z = np.full(visited * LANES, MASKED)
        z[first:limit] = rows[row][first:limit]
        probs, total = softmax(z)
        fields = {"row": row, "beats": visited, "first": first, "limit": limit}
        payloads.append(fields | {"max": int(z.max())})
        names = ("reciprocal", "shift1", "shift2")
        parts = zip(names, reciprocal(np.array([total])), strict=True)
        results.append({"row": row} | {name: int(part[0]) for name, part in parts})
        for beat in range(visited):
            writes.append((row, beat, probs[beat * LANES : (beat + 1) * LANES].tolist()))
    return payloads, results, writes, words


async def gathers(dut, count, written, cycles=None):
    """Add ``count`` probability words to ``written`` as they come."""
    shape = DUT.prob.shape()
    while len(written) < count:
        await ReadOnly()
        if int(dut.prob_valid.value):
            prob = unpack(shape, int(dut.prob.value))
            written.append((int(dut.prob_row.value), int(dut.prob_beat.value), prob))
            if cycles is not None:
                cycles.append(cycle())
        await RisingEdge(dut.clk)


async def busy_says_that_a_row_is_inside(dut):
    """Watch from the reset on, for ever."""
    inside = 0
    while True:
        await ReadOnly()
        if not int(dut.rst.value):
            assert int(dut.busy.value) == (inside > 0), f"{inside} rows inside, cycle {cycle()}"
            inside += int(dut.i_job__valid.value) & int(dut.i_job__ready.value)
            inside -= int(dut.o_row__valid.value) & int(dut.o_row__ready.value)
        await RisingEdge(dut.clk)


def serve(dut, words):
    port = ("score_row", "score_beat")
    score = DUT.score.shape()
    cocotb.start_soon(serves(dut, score, "score", words, addr=port, enable="score_en"))


@cocotb.test()
@cocotb.parametrize(i_stall=list(STALLS), o_stall=list(STALLS))
async def output_equals_golden(dut, i_stall, o_stall):
    payloads, results, writes, words = jobs(40)
    serve(dut, words)
    written = []
    cocotb.start_soon(gathers(dut, len(writes), written))
    cocotb.start_soon(busy_says_that_a_row_is_inside(dut))
    await UNIT.compares(dut, payloads, results, i_stall=i_stall, o_stall=o_stall, cycles=20000)
    for got, expected in zip(written, writes, strict=True):
        assert got == expected
    await ReadOnly()
    assert int(dut.busy.value) == 0


@cocotb.test()
async def one_row_takes_as_long_as_documented(dut):
    payloads, _, writes, words = jobs(1, beats=8)
    serve(dut, words)
    written, cycles = [], []
    cocotb.start_soon(gathers(dut, len(writes), written, cycles))
    latency, _ = await UNIT.timing(dut, payloads)
    assert latency == 8 + DUT.row_cycles
    assert [at - cycles[0] for at in cycles] == list(range(8))


@cocotb.test()
@cocotb.parametrize(beats=[32 // LANES, MAX_CONTEXT // LANES])
async def rows_follow_each_other_as_documented(dut, beats):
    payloads, _, writes, words = jobs(8, beats=beats)
    serve(dut, words)
    written, cycles = [], []
    cocotb.start_soon(gathers(dut, len(writes), written, cycles))
    _, span = await UNIT.timing(dut, payloads)
    assert span == 7 * max(beats, Softmax.ROW_CYCLES) + 1
    if beats > Softmax.ROW_CYCLES:
        assert cycles[-1] - cycles[0] + 1 == 8 * beats
