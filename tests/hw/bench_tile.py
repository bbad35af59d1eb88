"""Bench for `hw.tile`: the tiles of a chip share linear operators; attention is end to end."""

import cocotb
import numpy as np
from cocotb.triggers import ReadOnly, RisingEdge

from hw.spec import layout
from hw.spec.config import ArchConfig
from hw.spec.formats import BLOCK_LEN
from sim.compiler import image
from tests.hw.linear_jobs import expected_lanes, fill, job_of, random_linear, random_rows
from tests.hw.tile_row import TileRow
from tests.support.bench import (
    STALLS,
    at_random,
    collects,
    obeys_rules,
    params,
    sends,
    start,
    watchdog,
)

CONFIG = ArchConfig(**params()["config"])
DUT = TileRow(CONFIG)
JOB, RESULT = DUT.i_job.payload.shape(), DUT.o_act.payload.shape()
DESCRIPTOR = DUT.i_descriptor[0].payload.shape()
COMMAND, BEAT = DUT.o_stream[0].payload.shape(), DUT.i_beat[0].payload.shape()
PORT = CONFIG.port_bytes


def channels(linear):
    """Return the bytes of an operator in each channel, and the words that are streamed there."""
    out = np.zeros(CONFIG.tiles * image.linear_bytes(CONFIG, [linear]), dtype=np.uint8)
    image.pack_linear(CONFIG, [linear], out)
    outputs, inputs = linear.weight.shape
    words = layout.strip_words(CONFIG, inputs // BLOCK_LEN, linear.bias is not None)
    counts = [
        words * layout.channel_strips(CONFIG, outputs // BLOCK_LEN, tile)
        for tile in range(CONFIG.tiles)
    ]
    return out.reshape(CONFIG.tiles, -1), counts


async def memory(dut, tile, content, stall):
    """Answer the commands of a tile's streamer from the bytes of its channel, for ever."""
    while True:
        [item] = await collects(dut, f"o_stream__{tile}", COMMAND, 1, stall=stall)
        size = item["beats"] * PORT
        part = np.zeros(size, dtype=np.uint8)  # the last beat may reach past the end
        held = content[tile][item["addr"] : item["addr"] + size]
        part[: len(held)] = held
        beats = part.reshape(-1, PORT).tolist()
        await sends(dut, f"i_beat__{tile}", BEAT, beats, stall=stall)


async def run_job(dut, rng, content, *, rows, outputs, inputs, bias, stall):
    linear = random_linear(rng, outputs, inputs, bias)
    values, exponents = random_rows(rng, rows, inputs)
    await fill(dut, values, exponents)
    content[:], counts = channels(linear)
    for tile, words in enumerate(counts):
        descriptor = [{"addr": 0, "words": words}]
        cocotb.start_soon(sends(dut, f"i_descriptor__{tile}", DESCRIPTOR, descriptor))
    await sends(dut, "i_job", JOB, [job_of(linear, rows)])
    expected = expected_lanes(CONFIG, linear, values, exponents)
    got = await collects(dut, "o_act", RESULT, len(expected), stall=stall)
    assert len({tuple(beat) for beat in expected}) > len(expected) // 2
    for number, (result, wanted) in enumerate(zip(got, expected, strict=True)):
        strip_row, beat = divmod(number, CONFIG.beats)
        strip, row = divmod(strip_row, rows)
        assert result["data"] == wanted, f"strip {strip}, row {row}, beat {beat}"
        meta = result["meta"]
        assert (meta["strip"], meta["row"], meta["beat"]) == (strip, row, beat)
    while True:
        await ReadOnly()
        busy = int(dut.busy.value)
        await RisingEdge(dut.clk)
        if not busy:
            return


@cocotb.test()
@cocotb.parametrize(stall=list(STALLS), bias=[False, True])
async def results_equal_golden_in_the_order_of_one_tile(dut, stall, bias):
    """Any number of strips, also less than groups; every channel has a memory of its own pace."""
    rng = np.random.default_rng(9)
    await start(dut)
    cocotb.start_soon(watchdog(dut, 100_000))
    cocotb.start_soon(obeys_rules(dut, "o_act"))
    content = []
    for tile in range(CONFIG.tiles):
        pace = STALLS[stall] if tile % 2 else (lambda tile=tile: at_random(tile + 1))
        cocotb.start_soon(memory(dut, tile, content, pace))
    for rows, strips, blocks in (
        (1, 1, 2),
        (3, 2, 1),
        (CONFIG.max_rows, 3, 1),
        (2, 5, 2),
        (1, 4, 1),
    ):
        sizes = {"rows": rows, "outputs": BLOCK_LEN * strips, "inputs": BLOCK_LEN * blocks}
        await run_job(dut, rng, content, **sizes, bias=bias, stall=STALLS[stall])
