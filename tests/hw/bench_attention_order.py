"""Bench for `hw.attention_order`; the places that items take are `bench_attention`'s."""

import random

import cocotb
from cocotb.triggers import ReadOnly, RisingEdge

from hw.attention_order import AttentionOrder, Phase
from hw.jobs import segment_layout
from hw.operator_word import operator_layout
from hw.spec.config import ArchConfig
from tests.hw.read_port import serves
from tests.hw.segments import attention_steps, random_segments
from tests.hw.vector_stream import noise
from tests.support.bench import (
    STALLS,
    collects,
    cycle,
    obeys_rules,
    pack,
    params,
    start,
    watchdog,
)

CONFIG, TILE = ArchConfig(**params()["config"]), params()["tile"]
DUT = AttentionOrder(CONFIG, tile=TILE)
STEP = DUT.o_step.payload.shape()
WORD, SEGMENT = operator_layout("attention"), segment_layout(CONFIG)
SPAN = ("pos_blocks", "first_block", "visited_blocks", "visited_pos", "seen")
MOST = CONFIG.max_rows


async def prepare(dut):
    segments = {}
    await start(dut)
    cocotb.start_soon(watchdog(dut, 40_000))
    cocotb.start_soon(obeys_rules(dut, "o_step"))
    cocotb.start_soon(serves(dut, SEGMENT, "segment", segments, addr="segment_index"))
    return segments


def word_of(rng, **changes):
    """Return an operator's word; the fields that are not attention's hold anything."""
    return (
        noise(rng, WORD)
        | {
            "kv_heads": TILE + rng.randrange(1, 3 * CONFIG.tiles + 1),
            "group": rng.choice((1, 2, 3, MOST)),
            "head_blocks": rng.randrange(1, 3),
            "kv_offset": rng.getrandbits(32),
            "head_stride": rng.getrandbits(32),
            "window": rng.choice((0, 1, 40)),
        }
        | changes
    )


async def begin(dut, kept, segments, word):
    """Start; return the expected steps."""
    kept.clear()
    kept |= dict(enumerate(segments))
    dut.word.value = pack(WORD, word)
    dut.segments.value = len(segments)
    dut.start.value = 1
    await ReadOnly()
    assert int(dut.busy.value)
    await RisingEdge(dut.clk)
    dut.start.value = 0
    return attention_steps(CONFIG, segments, word, tile=TILE)


@cocotb.test()
@cocotb.parametrize(stall=list(STALLS), seed=range(3))
async def steps_equal_nested_loops(dut, stall, seed):
    print(f"seed {seed}")
    rng = random.Random(seed)
    kept = await prepare(dut)
    halved = set()
    for rows in (None, None, [1, 1, 1], [1, MOST - 2, 1], [MOST // 2, MOST // 2], [MOST]):
        segments, word = random_segments(rng, CONFIG, rows=rows), word_of(rng)
        steps = await begin(dut, kept, segments, word)
        got = await collects(dut, "o_step", STEP, len(steps), stall=STALLS[stall])
        for number, (found, (phase, step)) in enumerate(zip(got, steps, strict=True)):
            item = found["item"]
            offset = word["kv_offset"] + step["head"] * word["head_stride"]
            assert found["phase"] == phase.value, number
            assert item["segment"] == step["segment"], number
            assert item["heads"] == step["heads"], number
            assert item["query_block"] == step["query_block"], number
            assert item["head_offset"] == offset % (1 << 32), number
            assert {name: item[name] for name in SPAN} == {x: step["span"][x] for x in SPAN}
            assert found["last"] == (number == len(steps) - 1)
            halved.add(step["halved"])
        await ReadOnly()
        assert not int(dut.busy.value)
        await RisingEdge(dut.clk)
    assert halved == {0, 1}


@cocotb.test()
async def group_may_be_as_large_as_its_field(dut):
    """Then its query heads go one at a time, however few rows there are."""
    rng = random.Random(7)
    kept = await prepare(dut)
    for group, blocks in ((255, 4), (1, 1), (68, 15), (85, 10), (170, 5)):
        segments = random_segments(rng, CONFIG, rows=[1])
        # All query heads of all KV heads have to lie where addresses reach.
        fields = {"group": group, "head_blocks": max(1, blocks // (TILE + 1))}
        word = word_of(rng, kv_heads=TILE + 1, **fields)
        steps = await begin(dut, kept, segments, word)
        got = await collects(dut, "o_step", STEP, len(steps))
        assert len(steps) == (2 * group + 1 if group > MOST else 3)
        for found, (phase, step) in zip(got, steps, strict=True):
            assert found["phase"] == phase.value
            assert found["item"]["heads"] == step["heads"]
            assert found["item"]["query_block"] == step["query_block"]
        await ReadOnly()
        assert not int(dut.busy.value)
        await RisingEdge(dut.clk)


@cocotb.test()
async def tile_without_heads_has_nothing_to_do(dut):
    kept = await prepare(dut)
    kept |= dict(enumerate(random_segments(random.Random(6), CONFIG, rows=[1])))
    dut.word.value = pack(WORD, word_of(random.Random(6), kv_heads=TILE))
    dut.segments.value = 1
    dut.start.value = 1
    for _ in range(20):
        await ReadOnly()
        assert not int(dut.busy.value)
        assert not int(dut.o_step__valid.value)
        await RisingEdge(dut.clk)


@cocotb.test()
@cocotb.parametrize(group=[1, MOST])
async def timing_is_as_documented(dut, group):
    """Of items that fit half, and of items that do not."""
    rng = random.Random(5)
    kept = await prepare(dut)
    segments = random_segments(rng, CONFIG, rows=[1, 1])
    word = word_of(rng, kv_heads=2 * CONFIG.tiles, group=group)
    dut.o_step__ready.value = 1
    at = []

    async def watches():
        while True:
            await ReadOnly()
            if dut.o_step__valid.value:
                at.append(cycle())
            await RisingEdge(dut.clk)

    cocotb.start_soon(watches())
    began = cycle()
    steps = await begin(dut, kept, segments, word)
    for _ in range(80):
        await RisingEdge(dut.clk)
    assert at[0] == began + 6
    assert len(at) == len(steps)
    segment = steps[0][1]["segment"]
    for (early, late), (before, now) in zip(
        zip(at, at[1:], strict=False), zip(steps, steps[1:], strict=False), strict=True
    ):
        fresh = now[0] == Phase.EXPONENTS and now[1]["segment"] is not segment
        segment = now[1]["segment"] if fresh else segment
        phases = (before[0], now[0])
        beside = steps[0][1]["halved"]
        if phases == (Phase.EXPONENTS, Phase.KEYS):
            assert late - early == 1
        elif beside and phases == (Phase.KEYS, Phase.VALUES):
            assert late - early == 1
        elif beside and now is not steps[-1]:
            assert late - early == (6 if fresh else 2)
