"""Bench for `hw.norm_operator`."""

import cocotb
import numpy as np
from cocotb.triggers import ReadOnly, RisingEdge

from hw.norm_operator import NormOperator
from hw.operator_word import operator_layout
from hw.spec.config import ArchConfig
from hw.spec.formats import BLOCK_LEN, GAIN_WIDTH, RESIDUAL_WIDTH
from sim.golden.fixed import or_magnitude
from sim.golden.rmsnorm import rms_norm
from tests.hw.read_port import serves
from tests.hw.vector_stream import Unit, numbers, seeded
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
MAX_BLOCKS = CONFIG.max_dim // BLOCK_LEN


def cut(vector):
    return [vector[at : at + LANES] for at in range(0, len(vector), LANES)]


def operator(rng, *, blocks, rows, last_row=0, small=False):
    """Return (word, rows, gains, residual, results) of one operator."""
    word = {
        "blocks": blocks,
        "shift": 15 if small else rng.choice((0, 15, 17, 63)),
        "last_row": last_row,
        "epsilon": rng.choice((0, 1, (1 << 48) - 1, rng.getrandbits(30))),
        "dst": rng.randrange(1024),
    }
    dim = BLOCK_LEN * blocks
    gain = numbers(rng, GAIN_WIDTH, dim)
    high = (1 << (RESIDUAL_WIDTH - 1)) - 1
    residual = [
        [rng.choice((-high, high))] * dim
        if rng.random() < 0.2
        else numbers(rng, RESIDUAL_WIDTH, dim)
        for _ in range(rows)
    ]
    results = []
    for row in range(rows)[-1 if last_row else 0 :]:
        norm = rms_norm(np.array([residual[row]]), np.array(gain), word["shift"], word["epsilon"])
        pieces = cut(norm[0].tolist())
        results += [
            {
                "data": data,
                "row": 0 if last_row else row,
                "beat": beat,
                "last": int(beat == len(pieces) - 1),
            }
            for beat, data in enumerate(pieces)
        ]
    return word, rows, cut(gain), residual, results


async def begin(dut, cycles=20_000):
    """Return the dicts that the residual, and its ORMs, are served from."""
    await start(dut)
    cocotb.start_soon(watchdog(dut, cycles))
    cocotb.start_soon(obeys_rules(dut, "o_norm"))
    words, orms = {}, {}
    place = ("residual_row", "residual_beat")
    for served in (
        serves(dut, DUT.residual.shape(), "residual", words, addr=place, enable="residual_en"),
        serves(dut, DUT.orm.shape(), "orm", orms, addr="orm_row"),
    ):
        cocotb.start_soon(served)
    return words, orms


async def begin_operator(dut, memories, word, rows, residual):
    words, orms = memories
    for row, vector in enumerate(residual):
        words |= {(row, beat): data for beat, data in enumerate(cut(vector))}
        orms[row] = int(or_magnitude(vector))
    dut.word.value = pack(WORD, word)
    dut.rows.value = rows
    dut.start.value = 1
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
    operators = [
        operator(rng, blocks=1, rows=1),
        operator(rng, blocks=MAX_BLOCKS, rows=CONFIG.max_rows),
        operator(rng, blocks=MAX_BLOCKS, rows=CONFIG.max_rows, last_row=1),
        operator(rng, blocks=1, rows=1, last_row=1),
        operator(rng, blocks=2, rows=3),
    ]
    # The gains of all come in one stream, and no operator takes one too many.
    gains = [entry for _, _, gain, _, _ in operators for entry in gain]
    sender = cocotb.start_soon(sends(dut, "i_entry", UNIT.i_shape, gains, stall=STALLS[i_stall]))
    for word, rows, _, residual, results in operators:
        await begin_operator(dut, memories, word, rows, residual)
        await expects(dut, "o_norm", UNIT.o_shape, results, stall=STALLS[o_stall])
        await until_done(dut)
    await sender


@cocotb.test()
@cocotb.parametrize(blocks=[1, MAX_BLOCKS])
async def rows_take_as_long_as_documented(dut, blocks):
    rows = CONFIG.max_rows
    memories = await begin(dut)
    word, rows, gain, residual, _ = operator(seeded(), blocks=blocks, rows=rows, small=True)
    beats = len(gain)
    dut.o_norm__ready.value = 1
    timing = cocotb.start_soon(measures(dut, "i_entry", "o_norm", rows * beats))
    cocotb.start_soon(sends(dut, "i_entry", UNIT.i_shape, gain))
    await begin_operator(dut, memories, word, rows, residual)
    latency, cycles = await timing
    assert latency == beats + DUT.norm.first_cycles + beats
    assert cycles == (rows - 1) * max(2 * beats, beats + DUT.norm.search_cycles) + beats
