"""Bench for `hw.rmsnorm`."""

import cocotb
import numpy as np
from cocotb.triggers import ReadOnly

from hw.rmsnorm import RmsNorm
from hw.spec.formats import GAIN_WIDTH, HEAD_WIDTH, NORM_WIDTH, RESIDUAL_WIDTH
from sim.golden.fixed import or_magnitude
from sim.golden.rmsnorm import rms_norm
from tests.hw.read_port import serves
from tests.hw.vector_stream import Unit, numbers, seeded
from tests.support.bench import STALLS, params

SIZES = params()
LANES, MAX_DIM, MAX_ROWS, MAX_GAINS = (
    SIZES[name] for name in ("lanes", "max_dim", "max_rows", "max_gains")
)
DUT = RmsNorm(**SIZES)
UNIT = Unit(DUT, "i_job", "o_norm")


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


def jobs(count, *, dim=None, bits=None):
    """Return jobs, their results, the residual's words, its ORMs, and the gain's words.

    With ``bits`` each row has one large element, whose highest bit is one of these.
    """
    rng = seeded()
    gain = numbers(rng, GAIN_WIDTH, MAX_GAINS)
    dims = [dim or 32 * rng.randrange(1, MAX_DIM // 32 + 1) for _ in range(MAX_ROWS)]
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
        norm = rms_norm(np.array([x]), own_gain, shift, epsilon, width)[0].tolist()
        results += [
            {
                "data": norm[beat * LANES : (beat + 1) * LANES],
                "row": dst_row,
                "beat": beat,
                "last": int(beat == beats - 1),
            }
            for beat in range(beats)
        ]
    words = {
        (row, beat): x[beat * LANES : (beat + 1) * LANES]
        for row, x in enumerate(rows)
        for beat in range(len(x) // LANES)
    }
    gains = {beat: gain[beat * LANES : (beat + 1) * LANES] for beat in range(MAX_GAINS // LANES)}
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
@cocotb.parametrize(is_head=[0, 1])
async def the_least_number_becomes_the_one_above(dut, is_head):
    """Results that are in range but for their lack of an opposite."""
    rng = seeded()
    width = HEAD_WIDTH if is_head else NORM_WIDTH
    least, dim = -1 << (width - 1), 32
    x = [rng.randrange(-(1 << 20), 1 << 20) for _ in range(dim)]
    ones = np.ones(dim, dtype=np.int64)
    unit = rms_norm(np.array([x]), ones, 0, 0, 63)[0]
    for shift in range(20):
        exact = np.where(unit == 0, 0, least * (1 << shift) / np.where(unit == 0, 1, unit))
        gain = np.clip(np.rint(exact), -(1 << 15), (1 << 15) - 1).astype(np.int64)
        wide = rms_norm(np.array([x]), gain, shift, 0, 63)[0]
        if (wide == least).any():
            break
    else:
        raise AssertionError("no gains lead to the least number")
    norm = rms_norm(np.array([x]), gain, shift, 0, width)[0].tolist()
    words = {(0, beat): x[beat * LANES :][:LANES] for beat in range(dim // LANES)}
    gains = {beat: gain[beat * LANES :][:LANES].tolist() for beat in range(dim // LANES)}
    serve(dut, words, {0: int(or_magnitude(x))}, gains)
    beats = dim // LANES
    job = {"row": 0, "dst_row": 0, "beats": beats, "gain_beat": 0, "epsilon": 0, "shift": shift}
    results = [
        {
            "data": norm[beat * LANES :][:LANES],
            "row": 0,
            "beat": beat,
            "last": int(beat == beats - 1),
        }
        for beat in range(beats)
    ]
    await UNIT.compares(dut, [job | {"is_head": is_head}], results, cycles=2000)


@cocotb.test()
@cocotb.parametrize(dim=[32, MAX_DIM])
async def one_row_takes_as_long_as_documented(dut, dim):
    payloads, results, *memories = jobs(1, dim=dim)
    serve(dut, *memories)
    beats = dim // LANES
    got = await UNIT.timing(dut, payloads, count=beats)
    assert got == (beats + DUT.first_cycles, beats)


@cocotb.test()
@cocotb.parametrize(dim=[32, MAX_DIM])
async def rows_follow_each_other_as_documented(dut, dim):
    payloads, results, *memories = jobs(8, dim=dim)
    serve(dut, *memories)
    beats = dim // LANES
    period = max(2 * beats, beats + DUT.search_cycles)
    _, cycles = await UNIT.timing(dut, payloads, count=8 * beats)
    assert cycles == 7 * period + beats
