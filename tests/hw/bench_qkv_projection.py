"""Bench for `hw.qkv_projection`."""

import cocotb
import numpy as np
from cocotb.triggers import RisingEdge

from hw.jobs import Dest
from hw.operator_word import operator_layout
from hw.qkv_projection import QkvProjection
from hw.spec.config import ArchConfig
from hw.spec.formats import HEAD_WIDTH, ROPE_FRACTION, ROPE_WIDTH
from sim.golden.rope import rope
from tests.hw.fused_results import VALUE, cut, head_operator, projection
from tests.hw.vector_stream import Unit, noise, numbers, seeded
from tests.hw.with_norm import WithNorm
from tests.support.bench import (
    STALLS,
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
LANES, BEATS = CONFIG.lanes, CONFIG.beats
DUT = WithNorm(QkvProjection(CONFIG), CONFIG)
UNIT = Unit(DUT, "i_act", "o_act")
META = UNIT.i_shape.members["meta"]
HEAD_BEATS = CONFIG.max_head_dim // LANES
ONE = 1 << ROPE_FRACTION


async def fill(dut, rng):
    """Write a table for every row; return the entries by (row, beat of the head)."""
    tables = {}
    for row in range(CONFIG.max_rows):
        for beat in range(HEAD_BEATS):
            entry = tables[row, beat] = numbers(rng, ROPE_WIDTH, LANES, near=(ONE, -ONE))
            dut.rope_en.value = 1
            dut.rope_row.value = row
            dut.rope_addr.value = beat
            dut.rope.value = pack(DUT.rope.shape(), entry)
            await RisingEdge(dut.clk)
    dut.rope_en.value = 0
    dut.rope_row.value = 0
    dut.rope_addr.value = 0
    return tables


def rotated(vector, meta, tables):
    """Return a beat with the place that its label gives it, rotated unless it is of v."""
    if meta["section"] == VALUE:
        return vector
    table = tables[meta["row"], meta["block"] * BEATS + meta["beat"]]
    table = np.array(table).reshape(1, -1, 2)
    return rope(np.array(vector, dtype=np.int64)[None, None], table)[0, 0].tolist()


def beats(rng, tables, count):
    """Return beats of all sections, rows and places of a head, and what becomes of them."""
    payloads, results = [], []
    for number in range(count):
        vector = numbers(rng, HEAD_WIDTH, LANES)
        row, place = rng.choice(list(tables))
        meta = noise(rng, META) | {
            "dest": Dest.QKV,
            "row": row,
            "section": rng.randrange(3),
            "block": place // BEATS,
            "beat": place % BEATS,
            "dst": number % 1024,
            "last": number & 1,
        }
        payloads.append({"data": vector, "meta": meta})
        results.append({"data": rotated(vector, meta, tables), "meta": meta})
    return payloads, results


@cocotb.test()
@cocotb.parametrize(i_stall=list(STALLS), o_stall=list(STALLS))
async def queries_and_keys_are_rotated_as_golden_does(dut, i_stall, o_stall):
    rng = seeded()
    await start(dut)
    cocotb.start_soon(watchdog(dut, 5000))
    cocotb.start_soon(obeys_rules(dut, "o_act"))
    payloads, results = beats(rng, await fill(dut, rng), 200)
    sender = cocotb.start_soon(sends(dut, "i_act", UNIT.i_shape, payloads, stall=STALLS[i_stall]))
    await expects(dut, "o_act", UNIT.o_shape, results, stall=STALLS[o_stall])
    await sender


@cocotb.test()
@cocotb.parametrize(i_stall=list(STALLS), o_stall=list(STALLS))
async def normed_queries_and_keys_are_rotated(dut, i_stall, o_stall):
    rng = seeded()
    await start(dut)
    cocotb.start_soon(watchdog(dut, 20_000))
    cocotb.start_soon(obeys_rules(dut, "o_act"))
    tables = await fill(dut, rng)
    for blocks, rows in ((HEAD_BEATS // BEATS, CONFIG.max_rows), (1, 2), (HEAD_BEATS // BEATS, 1)):
        word, gains = head_operator(rng, blocks)
        dut.word.value = pack(operator_layout("head_norm"), word)
        dut.start.value = 1
        await RisingEdge(dut.clk)
        dut.start.value = 0
        await sends(dut, "i_entry", DUT.i_entry.payload.shape(), cut(gains[0] + gains[1], LANES))
        dut.head_blocks.value = blocks
        dut.head_norm.value = 1
        payloads, normed = projection(rng, CONFIG, word, gains, rows=rows, heads=(2, 1))
        results = [
            {"data": rotated(one["data"], one["meta"], tables), "meta": one["meta"]}
            for one in normed
        ]
        sender = cocotb.start_soon(
            sends(dut, "i_act", UNIT.i_shape, payloads, stall=STALLS[i_stall])
        )
        await expects(dut, "o_act", UNIT.o_shape, results, stall=STALLS[o_stall])
        await sender


@cocotb.test()
async def latency_and_throughput_are_as_documented(dut):
    rng = seeded()
    await start(dut)
    cocotb.start_soon(watchdog(dut, 1000))
    payloads, _ = beats(rng, await fill(dut, rng), 50)
    cocotb.start_soon(sends(dut, "i_act", UNIT.i_shape, payloads))
    dut.o_act__ready.value = 1
    assert await measures(dut, "i_act", "o_act", 50) == (QkvProjection.LATENCY, 50)
