"""Bench for `hw.rmsnorm`."""

import cocotb
import numpy as np
from cocotb.triggers import ReadOnly, RisingEdge

from hw.rmsnorm import RmsNorm
from hw.spec.formats import GAIN_WIDTH, HEAD_WIDTH, NORM_WIDTH, RESIDUAL_WIDTH
from sim.golden.fixed import or_magnitude
from sim.golden.rmsnorm import rms_norm
from tests.hw.fused_results import cut
from tests.hw.read_port import serves
from tests.hw.vector_stream import Unit, numbers, seeded
from tests.support.bench import STALLS, params

SIZES = params()
LANES, MAX_DIM, MAX_ROWS, MAX_GAINS = (
    SIZES[name] for name in ("lanes", "max_dim", "max_rows", "max_gains")
)
DUT = RmsNorm(**SIZES)
UNIT = Unit(DUT, "i_job", "o_norm")
DIM = 32  # of rows whose length does not matter


def residual_row(rng, kind, dim):
    """Return a row: all sizes, all alike, at an end of the range, all but empty, or small."""
    high = (1 << (RESIDUAL_WIDTH - 1)) - 1
    if kind == 0:
        return numbers(rng, RESIDUAL_WIDTH, dim)
    if kind == 1:
        return [rng.choice((-high, high)) for _ in range(dim)]
    if kind == 2:
        row = [0] * dim
        row[rng.randrange(dim)] = rng.choice((0, 1, -1, high, -high, rng.randrange(-high, high)))
        return row
    width = rng.randrange(2, RESIDUAL_WIDTH)
    return [rng.randrange(-(1 << (width - 1)), 1 << (width - 1)) for _ in range(dim)]


def words_of(vector, row=0):
    """Return the words of a vector by (row, beat)."""
    return {(row, beat): piece for beat, piece in enumerate(cut(vector, LANES))}


def beats_of(norm, dst_row):
    """Return a normalised row as it is to leave."""
    pieces = cut(norm.tolist(), LANES)
    return [
        {"data": piece, "row": dst_row, "beat": beat, "last": int(beat == len(pieces) - 1)}
        for beat, piece in enumerate(pieces)
    ]


def jobs(count, *, dim=None, bits=None):
    """Return jobs, their results, the residual's words, its ORMs, and the gain's words.

    With ``bits`` each row has one large element, whose highest bit is one of these.
    """
    rng = seeded()
    gain = numbers(rng, GAIN_WIDTH, MAX_GAINS)
    # A row need not be whole blocks.
    lengths = (LANES * rng.randrange(1, MAX_DIM // LANES + 1) for _ in range(MAX_ROWS))
    dims = [dim or rng.choice((length, max(32, length // 32 * 32))) for length in lengths]
    rows = [residual_row(rng, index % 5, length) for index, length in enumerate(dims)]
    for row, bit in zip(rows, bits or (), strict=False):
        row[:] = [rng.randrange(-1, 2) for _ in row]
        row[rng.randrange(len(row))] = rng.choice((1, -1)) * (1 << bit)
    payloads, results = [], []
    for number in range(count):
        row = number % MAX_ROWS
        x, dst_row = rows[row], rng.randrange(MAX_ROWS)
        epsilon = rng.choice((0, 1, (1 << 48) - 1, rng.getrandbits(48) >> rng.randrange(48)))
        shift = rng.choice((0, 63, rng.randrange(10, 20), rng.randrange(10, 20)))
        beats = dims[row] // LANES
        is_head = rng.randrange(2)
        gain_beat = rng.choice((0, (MAX_GAINS - dims[row]) // LANES))
        payloads.append({
            "row": row,
            "dst_row": dst_row,
            "beats": beats,
            "gain_beat": gain_beat,
            "epsilon": epsilon,
            "shift": shift,
            "is_head": is_head,
        })
        own_gain = np.array(gain[gain_beat * LANES :][: dims[row]])
        width = HEAD_WIDTH if is_head else NORM_WIDTH
        norm = rms_norm(np.array([x]), own_gain, shift, epsilon, width)[0]
        results += beats_of(norm, dst_row)
    words = {}
    for row, x in enumerate(rows):
        words |= words_of(x, row)
    gains = {beat: word for (_, beat), word in words_of(gain).items()}
    orms = {row: int(or_magnitude(x)) for row, x in enumerate(rows)}
    return payloads, results, words, orms, gains


def serve(dut, words, orms, gains):
    data, gain = DUT.read_data.shape(), DUT.gain.shape()
    for memory in (
        serves(dut, data, "read_data", words, addr=("read_row", "read_beat"), enable="read_en"),
        serves(dut, DUT.orm.shape(), "orm", orms, addr="orm_row"),
        serves(dut, gain, "gain", gains, addr="gain_addr"),
    ):
        cocotb.start_soon(memory)


@cocotb.test()
@cocotb.parametrize(i_stall=list(STALLS), o_stall=list(STALLS))
async def output_equals_golden(dut, i_stall, o_stall):
    payloads, results, *memories = jobs(20)
    serve(dut, *memories)
    await UNIT.compares(dut, payloads, results, i_stall=i_stall, o_stall=o_stall, cycles=20000)
    await ReadOnly()
    assert int(dut.busy.value) == 0


@cocotb.test()
@cocotb.parametrize(first=list(range(0, RESIDUAL_WIDTH - 1, MAX_ROWS)))
async def any_bit_of_one_element_sets_the_scale(dut, first):
    bits = range(first, min(first + MAX_ROWS, RESIDUAL_WIDTH - 1))
    payloads, results, *memories = jobs(len(bits), bits=bits)
    serve(dut, *memories)
    await UNIT.compares(dut, payloads, results, cycles=60_000)


@cocotb.test()
@cocotb.parametrize(first=list(range(0, 48, MAX_ROWS)))
async def every_bit_of_epsilon_counts(dut, first):
    """Of rows whose squares are no more than it, so that it decides the result."""
    rng = seeded()
    payloads, results, words, orms = [], [], {}, {}
    gain = [rng.choice((1, -1)) * rng.randrange(1 << 14, 1 << 15) for _ in range(DIM)]
    for row, bit in enumerate(range(first, first + MAX_ROWS)):
        high = min((1 << 15) - 1, 1 << max(0, bit - 5) // 2)
        x = [rng.randrange(-high, high + 1) for _ in range(DIM)]
        x[0] = high
        job = {"row": row, "dst_row": row, "beats": DIM // LANES, "gain_beat": 0}
        job |= {"epsilon": 1 << bit, "shift": 14, "is_head": 0}
        payloads.append(job)
        results += beats_of(rms_norm(np.array([x]), np.array(gain), 14, 1 << bit)[0], row)
        words |= words_of(x, row)
        orms[row] = int(or_magnitude(x))
    serve(dut, words, orms, {beat: word for (_, beat), word in words_of(gain).items()})
    await UNIT.compares(dut, payloads, results, cycles=4000)


@cocotb.test()
@cocotb.parametrize(is_head=[0, 1])
async def the_least_number_becomes_the_one_above(dut, is_head):
    """Results that are in range but for their lack of an opposite, in one lane after the other."""
    rng = seeded()
    width = HEAD_WIDTH if is_head else NORM_WIDTH
    least = -1 << (width - 1)
    x = np.array([rng.randrange(-(1 << 20), 1 << 20) for _ in range(DIM)])
    ones = np.ones(DIM, dtype=np.int64)
    unit = rms_norm(x[None], ones, 0, 0, 63)[0]
    for shift in range(20):
        exact = np.where(unit == 0, 0, least * (1 << shift) / np.where(unit == 0, 1, unit))
        gain = np.clip(np.rint(exact), -(1 << 15), (1 << 15) - 1).astype(np.int64)
        found = np.flatnonzero(rms_norm(x[None], gain, shift, 0, 63)[0] == least)
        if found.size:
            break
    else:
        raise AssertionError("no gains lead to the least number")
    payloads, results, words, gains = [], [], {}, {}
    beats = DIM // LANES
    for row in range(min(LANES, MAX_ROWS, MAX_GAINS // DIM)):
        moved, moved_gain = (np.roll(vector, row - found[0]) for vector in (x, gain))
        payloads.append({
            "row": row,
            "dst_row": row,
            "beats": beats,
            "gain_beat": row * beats,
            "epsilon": 0,
            "shift": shift,
            "is_head": is_head,
        })
        norm = rms_norm(moved[None], moved_gain, shift, 0, width)[0]
        assert norm[row] == least + 1
        results += beats_of(norm, row)
        words |= words_of(moved.tolist(), row)
        gains |= {
            row * beats + beat: word for (_, beat), word in words_of(moved_gain.tolist()).items()
        }
    orm = int(or_magnitude(x))
    serve(dut, words, dict.fromkeys(range(MAX_ROWS), orm), gains)
    await UNIT.compares(dut, payloads, results, cycles=4000)


async def notes_reads(dut, reads):
    """Note which row and beat is read, from the reset on."""
    while True:
        await ReadOnly()
        if int(dut.read_en.value) and not int(dut.rst.value):
            reads.append((int(dut.read_row.value), int(dut.read_beat.value)))
        await RisingEdge(dut.clk)


@cocotb.test()
@cocotb.parametrize(dim=[32, MAX_DIM])
async def one_row_takes_as_long_as_documented(dut, dim):
    payloads, results, *memories = jobs(1, dim=dim)
    serve(dut, *memories)
    beats = dim // LANES
    reads = []
    cocotb.start_soon(notes_reads(dut, reads))
    got = await UNIT.timing(dut, payloads, count=beats)
    assert got == (beats + DUT.first_cycles, beats)
    # The residual writes through the same port.
    assert sorted(reads) == sorted(2 * [(payloads[0]["row"], beat) for beat in range(beats)])


@cocotb.test()
@cocotb.parametrize(dim=[32, MAX_DIM])
async def rows_follow_each_other_as_documented(dut, dim):
    payloads, results, *memories = jobs(8, dim=dim)
    serve(dut, *memories)
    beats = dim // LANES
    period = max(2 * beats, beats + DUT.search_cycles)
    _, cycles = await UNIT.timing(dut, payloads, count=8 * beats)
    assert cycles == 7 * period + beats
