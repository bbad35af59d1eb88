"""Bench for `hw.norm_operator`."""

import cocotb
import numpy as np
from cocotb.triggers import ReadOnly, RisingEdge

from hw.norm_operator import NormOperator
from hw.operator_word import operator_layout
from hw.spec.config import ArchConfig
from hw.spec.formats import BLOCK_LEN, GAIN_WIDTH, HEAD_WIDTH, RESIDUAL_WIDTH
from hw.spec.isa import OPERATORS
from sim.golden.fixed import or_magnitude
from sim.golden.rmsnorm import rms_norm
from tests.hw.fused_results import cut, epsilon, head_operator, norm_head
from tests.hw.read_port import serves
from tests.hw.vector_stream import Unit, numbers, seeded, uneven
from tests.support.bench import (
    STALLS,
    cycle,
    expects,
    measures,
    obeys_rules,
    pack,
    params,
    sends,
    start,
    watchdog,
)

CONFIG = ArchConfig(**params()["config"])
LANES = CONFIG.lanes
DUT = NormOperator(CONFIG)
UNIT = Unit(DUT, "i_entry", "o_norm")
WORD = operator_layout("norm")
HEAD_WORD = operator_layout("head_norm")
MAX_EMITS = CONFIG.max_seqs
MAX_BLOCKS = CONFIG.max_dim // BLOCK_LEN
HEAD_BLOCKS = CONFIG.max_head_dim // BLOCK_LEN
HEADS = DUT.heads
JOB, HEAD_RESULT = HEADS.job.payload.shape(), HEADS.norm.payload.shape()


def operator(rng, *, blocks, rows, emits=None, small=False):
    """Return (word, rows, gains, residual, emitting, results) of one operator.

    With ``emits`` so many rows, which chance picks, become the first ones; they are ``emitting``.
    """
    word = {
        "opcode": OPERATORS["norm"].opcode,
        "blocks": blocks,
        "shift": 15 if small else rng.choice((0, 15, 17, 63)),
        "emit_rows": int(emits is not None),
        "epsilon": epsilon(rng),
        "dst": rng.randrange(1024),
    }
    dim = BLOCK_LEN * blocks
    gain = numbers(rng, GAIN_WIDTH, dim)
    # Saturated, the least number does not occur.
    least = -(1 << (RESIDUAL_WIDTH - 1))
    residual = [[max(x, least + 1) for x in uneven(rng, RESIDUAL_WIDTH, dim)] for _ in range(rows)]
    emitting = rng.sample(range(rows), emits or 0)
    results = []
    for dst_row, row in enumerate(range(rows) if emits is None else emitting):
        norm = rms_norm(np.array([residual[row]]), np.array(gain), word["shift"], word["epsilon"])
        pieces = cut(norm[0].tolist(), LANES)
        results += [
            {
                "data": data,
                "row": dst_row,
                "beat": beat,
                "last": int(beat == len(pieces) - 1),
            }
            for beat, data in enumerate(pieces)
        ]
    return word, rows, cut(gain, LANES), residual, emitting, results


def head_rows(rng, word, gains, rows):
    """Return rows of heads of q and k, their jobs, and their results."""
    dim = BLOCK_LEN * word["head_blocks"]
    vectors, jobs, results = [], [], []
    for row in rng.sample(range(CONFIG.max_rows), rows):
        is_key = rng.randrange(2)
        x = uneven(rng, HEAD_WIDTH, dim)
        pieces = cut(norm_head([x], is_key, word, gains)[0], LANES)
        vectors.append((row, x))
        jobs.append({"row": row, "beats": len(pieces), "is_key": is_key})
        results += [
            {"data": data, "row": row, "beat": beat, "last": int(beat == len(pieces) - 1)}
            for beat, data in enumerate(pieces)
        ]
    return vectors, jobs, results


async def begin(dut, cycles=20_000):
    """Return the dicts that residual, heads, the ORMs of each, and rows that emit come from."""
    await start(dut)
    cocotb.start_soon(watchdog(dut, cycles))
    for name in ("o_norm", "heads__norm"):
        cocotb.start_soon(obeys_rules(dut, name))
    words, orms, head_words, head_orms, emit_rows = {}, {}, {}, {}, {}
    place = ("residual_row", "residual_beat")
    for served in (
        serves(dut, DUT.residual.shape(), "residual", words, addr=place, enable="residual_en"),
        serves(dut, DUT.orm.shape(), "orm", orms, addr="orm_row"),
        serves(
            dut,
            HEADS.read_data.shape(),
            "heads__read_data",
            head_words,
            addr=("heads__read_row", "heads__read_beat"),
            enable="heads__read_en",
        ),
        serves(dut, HEADS.orm.shape(), "heads__orm", head_orms, addr="heads__orm_row"),
        serves(dut, DUT.emit_row.shape(), "emit_row", emit_rows, addr="emit_index"),
    ):
        cocotb.start_soon(served)
    return words, orms, head_words, head_orms, emit_rows


async def begin_operator(dut, memories, word, rows, residual, emitting=()):
    words, orms, _, _, emit_rows = memories
    emit_rows.clear()
    emit_rows |= dict(enumerate(emitting))
    dut.emits.value = len(emitting)
    for row, vector in enumerate(residual):
        words |= {(row, beat): data for beat, data in enumerate(cut(vector, LANES))}
        orms[row] = int(or_magnitude(vector))
    dut.word.value = pack(WORD, word)
    dut.rows.value = rows
    dut.start.value = 1
    await ReadOnly()
    assert int(dut.busy.value)
    await RisingEdge(dut.clk)
    dut.start.value = 0


async def until_done(dut):
    """Return the cycle in which ``busy`` is low."""
    while True:
        await ReadOnly()
        busy, now = int(dut.busy.value), cycle()
        await RisingEdge(dut.clk)
        if not busy:
            return now


@cocotb.test()
@cocotb.parametrize(i_stall=list(STALLS), o_stall=list(STALLS))
async def rows_equal_golden(dut, i_stall, o_stall):
    rng = seeded()
    memories = await begin(dut)
    most, least = CONFIG.max_rows, {"blocks": 1, "rows": 1}
    operators = [
        operator(rng, **least),
        operator(rng, blocks=MAX_BLOCKS, rows=most),
        *(operator(rng, blocks=MAX_BLOCKS, rows=most, emits=n) for n in range(1, MAX_EMITS + 1)),
        operator(rng, **least, emits=1),
        operator(rng, blocks=2, rows=3),
        operator(rng, blocks=1, rows=3, emits=2),
    ]
    # The gains of all come in one stream, and no operator takes one too many.
    gains = [entry for _, _, gain, *_ in operators for entry in gain]
    sender = cocotb.start_soon(sends(dut, "i_entry", UNIT.i_shape, gains, stall=STALLS[i_stall]))
    for word, rows, _, residual, emitting, results in operators:
        await begin_operator(dut, memories, word, rows, residual, emitting)
        await expects(dut, "o_norm", UNIT.o_shape, results, stall=STALLS[o_stall])
        await until_done(dut)
    await sender


@cocotb.test()
@cocotb.parametrize(i_stall=list(STALLS), o_stall=list(STALLS))
async def heads_equal_golden_between_operators(dut, i_stall, o_stall):
    """Rows of heads have gains of their own, which no norm of the residual touches."""
    rng = seeded()
    memories = await begin(dut)
    _, _, head_words, head_orms, _ = memories
    stall = STALLS[o_stall]
    for blocks in (HEAD_BLOCKS, 1):
        head_word, gains = head_operator(rng, blocks)
        entries = cut(gains[0] + gains[1], LANES)
        dut.word.value = pack(HEAD_WORD, head_word)
        dut.start.value = 1
        await RisingEdge(dut.clk)
        dut.start.value = 0
        await sends(dut, "i_entry", UNIT.i_shape, entries, stall=STALLS[i_stall])
        await until_done(dut)
        for rows in (CONFIG.max_rows, 1):
            word, count, gain, residual, _, results = operator(rng, blocks=MAX_BLOCKS, rows=2)
            sender = cocotb.start_soon(sends(dut, "i_entry", UNIT.i_shape, gain))
            await begin_operator(dut, memories, word, count, residual)
            await expects(dut, "o_norm", UNIT.o_shape, results, stall=stall)
            await until_done(dut)
            await sender
            vectors, jobs, results = head_rows(rng, head_word, gains, rows)
            for row, x in vectors:
                head_words |= {(row, beat): data for beat, data in enumerate(cut(x, LANES))}
                head_orms[row] = int(or_magnitude(x))
            sender = cocotb.start_soon(sends(dut, "heads__job", JOB, jobs, stall=STALLS[i_stall]))
            await expects(dut, "heads__norm", HEAD_RESULT, results, stall=stall)
            await sender
            assert not int(dut.busy.value)


@cocotb.test()
async def rows_of_heads_leave_the_residual_alone(dut):
    """The residual reads and writes through one port, and must not wait for heads."""
    rng = seeded()
    await begin(dut)
    _, jobs, results = head_rows(rng, *head_operator(rng, HEAD_BLOCKS), 2)
    cocotb.start_soon(sends(dut, "heads__job", JOB, jobs))
    dut.heads__norm__ready.value = 1
    left, reads = len(results), 0
    while left:
        await ReadOnly()
        reads += int(dut.heads__read_en.value)
        assert not int(dut.residual_en.value)
        assert not int(dut.o_norm__valid.value)
        left -= int(dut.heads__norm__valid.value)
        await RisingEdge(dut.clk)
    assert reads == 2 * len(results), "nothing is read that no job asks for"


async def leaves_heads_alone(dut):
    """Check that no row of a head is read, and no result offered to heads."""
    while True:
        await ReadOnly()
        assert not int(dut.heads__read_en.value)
        assert not int(dut.heads__norm__valid.value)
        assert not int(dut.heads__job__ready.value)
        await RisingEdge(dut.clk)


@cocotb.test()
@cocotb.parametrize(blocks=[1, MAX_BLOCKS], emits=[None, MAX_EMITS])
async def rows_take_as_long_as_documented(dut, blocks, emits):
    memories = await begin(dut)
    word, rows, gain, residual, emitting, results = operator(
        seeded(), blocks=blocks, rows=CONFIG.max_rows, emits=emits, small=True
    )
    beats = len(gain)
    dut.o_norm__ready.value = 1
    timing = cocotb.start_soon(measures(dut, "i_entry", "o_norm", len(results)))
    cocotb.start_soon(sends(dut, "i_entry", UNIT.i_shape, gain))
    await begin_operator(dut, memories, word, rows, residual, emitting)
    await RisingEdge(dut.clk)
    watch = cocotb.start_soon(leaves_heads_alone(dut))
    latency, cycles = await timing
    watch.cancel()
    assert latency == beats + DUT.norm.first_cycles + beats
    between = max(2 * beats, beats + DUT.norm.search_cycles)
    assert cycles == (len(results) // beats - 1) * between + beats
