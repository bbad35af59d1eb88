"""Bench for `hw.result_merge`."""

import cocotb
from amaranth.lib import data
from cocotb.triggers import ReadOnly, RisingEdge

from hw.jobs import Dest, result_label
from hw.spec.config import ArchConfig
from tests.hw.vector_stream import noise, seeded
from tests.support.bench import (
    STALLS,
    at_random,
    collects,
    expects,
    measures,
    obeys_rules,
    params,
    sends,
    start,
    watchdog,
)

CONFIG = ArchConfig(**params()["config"])
META = result_label(CONFIG)
SHAPE = data.StructLayout({"data": 16, "meta": META})
TILES, BEATS = CONFIG.tiles, CONFIG.beats


def linear_results(rng, strips, rows):
    """Return the results of a linear operator in order, each with the tile that gives it."""
    results = []
    for strip in range(strips):
        for row in range(rows):
            for beat in range(BEATS):
                member, own = divmod(beat, CONFIG.own_beats)
                end = row == rows - 1 and own == CONFIG.own_beats - 1
                meta = noise(rng, META) | {"row": row, "strip": strip, "beat": beat}
                meta |= {"dest": Dest.GLU, "strip_end": int(end)}
                tile = strip % CONFIG.groups * CONFIG.strip_tiles + member
                results.append((tile, {"data": rng.getrandbits(16), "meta": meta}))
    return results


def block(rng, tile, number):
    """Return the beats of a block of a tile's attention."""
    return [
        {
            "data": rng.getrandbits(16),
            "meta": noise(rng, META)
            | {"dest": Dest.VALUES, "row": tile, "strip": number, "beat": beat},
        }
        for beat in range(BEATS)
    ]


async def begin(dut, cycles=20_000):
    await start(dut)
    cocotb.start_soon(watchdog(dut, cycles))
    cocotb.start_soon(obeys_rules(dut, "o"))


async def restart(dut):
    dut.by_block.value = 0
    dut.restart.value = 1
    await RisingEdge(dut.clk)
    dut.restart.value = 0


def gives(dut, tile, payloads, stall):
    return cocotb.start_soon(sends(dut, f"i__{tile}", SHAPE, payloads, stall=stall))


def own_stall(tile):
    return lambda: at_random(tile + 1)


@cocotb.test()
@cocotb.parametrize(i_stall=list(STALLS), o_stall=list(STALLS))
async def linear_results_come_strip_by_strip_row_by_row(dut, i_stall, o_stall):
    """Jobs of several sizes, with any number of strips over the last whole round of the groups."""
    rng = seeded()
    await begin(dut)
    for strips, rows in ((1, 1), (1, 3), (2, 1), (3, 2), (5, 1), (7, 3), (1, 1)):
        await restart(dut)
        results = linear_results(rng, strips, rows)
        for tile in range(TILES):
            stall = STALLS[i_stall] if tile % 2 else own_stall(tile)
            gives(dut, tile, [result for owner, result in results if owner == tile], stall)
        expected = [result for _, result in results]
        await expects(dut, "o", SHAPE, expected, stall=STALLS[o_stall])


@cocotb.test()
@cocotb.parametrize(i_stall=list(STALLS), o_stall=list(STALLS))
async def blocks_of_attention_stay_whole(dut, i_stall, o_stall):
    """And those of a tile in order; a job of a linear operator follows."""
    rng = seeded()
    await begin(dut)
    await restart(dut)
    dut.by_block.value = 1
    counts = [3 * tile + 1 for tile in range(TILES)]
    blocks = [[block(rng, tile, n) for n in range(count)] for tile, count in enumerate(counts)]
    for tile, own in enumerate(blocks):
        stall = STALLS[i_stall] if tile % 2 else own_stall(tile)
        gives(dut, tile, [beat for one in own for beat in one], stall)
    count = sum(counts) * BEATS
    got = await collects(dut, "o", SHAPE, count, stall=STALLS[o_stall])
    seen = [0] * TILES
    for at in range(0, count, BEATS):
        beats = got[at : at + BEATS]
        tile = beats[0]["meta"]["row"]
        expected = blocks[tile][seen[tile]]
        assert [beat["data"] for beat in beats] == [beat["data"] for beat in expected]
        assert [beat["meta"]["beat"] for beat in beats] == list(range(BEATS))
        seen[tile] += 1
    assert seen == counts
    await restart(dut)
    results = linear_results(rng, 3, 2)
    for tile in range(TILES):
        gives(dut, tile, [result for owner, result in results if owner == tile], own_stall(tile))
    await expects(dut, "o", SHAPE, [result for _, result in results])


@cocotb.test()
async def tiles_with_blocks_take_turns(dut):
    """No tile waits for more than one block of each other."""
    rng = seeded()
    await begin(dut)
    dut.by_block.value = 1
    await RisingEdge(dut.clk)
    for tile in range(TILES):
        beats = [beat for n in range(4) for beat in block(rng, tile, n)]
        gives(dut, tile, beats, STALLS["never"])
    got = await collects(dut, "o", SHAPE, 4 * TILES * BEATS)
    turns = [beat["meta"]["row"] for beat in got[::BEATS]]
    assert turns[:TILES] * 4 == turns
    assert sorted(turns[:TILES]) == list(range(TILES))


@cocotb.test()
@cocotb.parametrize(by_block=[0, 1])
async def a_result_passes_in_the_cycle_in_which_it_comes(dut, by_block):
    rng = seeded()
    await begin(dut)
    await restart(dut)
    dut.by_block.value = by_block
    if by_block:
        results = [(0, beat) for n in range(4) for beat in block(rng, 0, n)]
    else:
        results = linear_results(rng, 4, 2)
    dut.o__ready.value = 1
    for tile in range(TILES):
        gives(dut, tile, [result for owner, result in results if owner == tile], STALLS["never"])
    assert await measures(dut, "i__0", "o", len(results)) == (0, len(results))


@cocotb.test()
async def nothing_is_taken_that_is_not_given(dut):
    await begin(dut)
    for by_block in (0, 1):
        await restart(dut)
        dut.by_block.value = by_block
        for _ in range(4):
            await ReadOnly()
            assert not int(dut.o__valid.value)
            await RisingEdge(dut.clk)
