"""Bench for `hw.kv_reader`."""

import random

import cocotb
import numpy as np
from cocotb.triggers import ReadOnly, RisingEdge

from hw.attention_order import Phase
from hw.jobs import segment_layout
from hw.kv_reader import KvReader
from hw.operator_word import operator_layout
from hw.spec import layout
from hw.spec.config import ArchConfig
from hw.spec.formats import BLOCK_LEN
from sim.compiler.kv_page import HeadCache
from tests.hw.kv_memory import KvMemory
from tests.hw.read_port import serves
from tests.hw.segments import attention_steps, random_segments
from tests.hw.vector_stream import noise, seeded
from tests.support.bench import (
    STALLS,
    collects,
    expects,
    obeys_rules,
    pack,
    params,
    start,
    watchdog,
)

CONFIG = ArchConfig(**params()["config"])
DUT = KvReader(CONFIG)
DESCRIPTOR = DUT.o_descriptor.payload.shape()
WORD, SEGMENT = operator_layout("attention"), segment_layout(CONFIG)
SPANS = CONFIG.max_context // BLOCK_LEN
PAGE_SPANS = CONFIG.page_len // BLOCK_LEN
#: Blocks of positions: both ends, and around the first page's.
POS_BLOCKS = sorted({1, PAGE_SPANS, min(PAGE_SPANS + 1, SPANS), SPANS})
#: Blocks between two of which addresses are aligned.
STEP = max(1, CONFIG.align_bytes // BLOCK_LEN)
LAST_SLOT = CONFIG.max_seqs - 1
#: Any bits, for the fields of a word that are not the unit's.
NOISE = random.Random(16)


def joined(memory, slot, head):
    """Return the cache of a sequence's head at all positions."""
    parts = [memory.head(slot, page, head) for page in range(CONFIG.max_pages)]
    fields = ("k", "k_exponents", "v", "v_exponents")
    return HeadCache(**{name: np.concatenate([getattr(x, name) for x in parts]) for name in fields})


def expected_bytes(memory, phase, item):
    """Return what `Attention` takes in a step, word after word."""
    cols, out, span = CONFIG.cols, [], item["span"]
    used, start = span["pos_blocks"] * BLOCK_LEN, span["first_block"] * BLOCK_LEN
    cache = joined(memory, item["segment"]["slot"], item["head"])
    if phase == Phase.EXPONENTS:
        for block in range(memory.blocks):
            out.append(cache.v_exponents[:used, block])
    elif phase == Phase.KEYS:
        for pos in range(start, used, cols):
            for block in range(memory.blocks):
                out.append(cache.k_exponents[pos : pos + cols, block])
                for element in range(BLOCK_LEN * block, BLOCK_LEN * (block + 1)):
                    out.append(cache.k[pos : pos + cols, element].view(np.uint8))
    else:
        for first in range(0, BLOCK_LEN * memory.blocks, cols):
            for pos in range(start, used):
                out.append(cache.v[pos, first : first + cols].view(np.uint8))
    return np.concatenate(out)


def descriptor_count(memory, phase, item):
    span = item["span"]
    pages = -(-span["pos_blocks"] // PAGE_SPANS)
    visited = pages - span["first_block"] // PAGE_SPANS
    return {
        Phase.EXPONENTS: pages * memory.blocks,
        Phase.KEYS: visited,
        Phase.VALUES: visited * memory.blocks * CONFIG.subs,
    }[phase]


def named_by(word, pages, phase, item):
    """Return the descriptors of a step, from where `hw.spec.layout` says that everything lies."""
    cols, page_len, blocks = CONFIG.cols, CONFIG.page_len, word["head_blocks"]
    span, slot = item["span"], item["segment"]["slot"]
    head = word["kv_offset"] + item["head"] * word["head_stride"]
    begin = 0 if phase == Phase.EXPONENTS else BLOCK_LEN * span["first_block"]
    end = BLOCK_LEN * span["pos_blocks"]
    position_bytes = (BLOCK_LEN + 1) * blocks  # of K
    # Where a stream begins in the head's part of a page, bytes of a position.
    streams = {
        Phase.EXPONENTS: [
            (layout.v_exp_offset(CONFIG, blocks) + block * page_len, 1) for block in range(blocks)
        ],
        Phase.KEYS: [(0, position_bytes)],
        Phase.VALUES: [
            (layout.v_offset(CONFIG, blocks) + strip * page_len * cols, cols)
            for strip in range(blocks * CONFIG.subs)
        ],
    }[phase]
    out = []
    for offset, size in streams:
        for page in range(begin // page_len, -(-end // page_len)):
            first = max(begin - page * page_len, 0)
            last = min(end - page * page_len, page_len)
            addr = pages[slot, page] + head + offset + first * size
            out.append({"addr": addr % (1 << 32), "words": (last - first) * size // cols})
    return out


async def prepare(dut, rng, cycles, **sizes):
    memory = KvMemory(CONFIG, rng, **sizes)
    memory.segments = {}
    await start(dut)
    cocotb.start_soon(watchdog(dut, cycles))
    cocotb.start_soon(obeys_rules(dut, "o_descriptor"))
    cocotb.start_soon(serves(dut, 32, "page", memory.pages, addr=("page_slot", "page_index")))
    cocotb.start_soon(serves(dut, SEGMENT, "segment", memory.segments, addr="segment_index"))
    return memory


async def begin(dut, memory, segments, word):
    """Start; return the steps."""
    memory.segments.clear()
    memory.segments |= dict(enumerate(segments))
    fields = {
        "kv_heads": memory.kv_heads,
        "head_blocks": memory.blocks,
        "kv_offset": memory.kv_offset,
        "head_stride": memory.head_stride,
    }
    word = noise(NOISE, WORD) | fields | word
    dut.word.value = pack(WORD, word)
    dut.segments.value = len(segments)
    dut.start.value = 1
    await RisingEdge(dut.clk)
    dut.start.value = 0
    return attention_steps(CONFIG, segments, word)


async def visits(dut, memory, segments, *, group=1, window=0, stall="never"):
    """Run once, compare all the words that the descriptors name, and return how many."""
    steps = await begin(dut, memory, segments, {"group": group, "window": window})
    count = sum(descriptor_count(memory, *step) for step in steps)
    descriptors = await collects(dut, "o_descriptor", DESCRIPTOR, count, stall=STALLS[stall])
    await ReadOnly()
    assert not dut.busy.value
    assert not dut.o_descriptor__valid.value
    assert all(item["addr"] % CONFIG.align_bytes == 0 for item in descriptors)
    parts = [memory.read(item["addr"], item["words"] * CONFIG.cols) for item in descriptors]
    expected = [expected_bytes(memory, *step) for step in steps]
    np.testing.assert_array_equal(np.concatenate(parts), np.concatenate(expected))
    await RisingEdge(dut.clk)
    return sum(item["words"] for item in descriptors)


def segment_of(first_pos, rows=1, slot=LAST_SLOT):
    return {"slot": slot, "row0": 0, "rows": rows, "first_pos": first_pos, "emit": 0}


@cocotb.test()
@cocotb.parametrize(stall=list(STALLS))
async def descriptors_name_the_words_that_attention_takes(dut, stall):
    rng = np.random.default_rng(11)
    blocks = CONFIG.max_head_dim // BLOCK_LEN
    memory = await prepare(dut, rng, 60_000, blocks=blocks, kv_heads=3)
    most = CONFIG.max_rows
    for pos_blocks in POS_BLOCKS:
        last = BLOCK_LEN * pos_blocks
        await visits(dut, memory, [segment_of(last - 1)], stall=stall)
        # Two heads fit together, or do not; then two rows and all.
        await visits(dut, memory, [segment_of(last - most // 2, most // 2)], group=2, stall=stall)
        mixed = [segment_of(last - 2, 1), segment_of(last - most + 2, most - 2), segment_of(0)]
        await visits(dut, memory, mixed, group=2, stall=stall)
        await visits(dut, memory, [segment_of(last - most, most)], group=2, stall=stall)


@cocotb.test()
@cocotb.parametrize(stall=list(STALLS), seed=range(3))
async def each_sequence_is_read_from_its_own_pages(dut, stall, seed):
    print(f"seed {seed}")
    memory = await prepare(dut, np.random.default_rng(seed), 60_000, blocks=2, kv_heads=2)
    rng = random.Random(seed)
    most, seqs = CONFIG.max_rows, CONFIG.max_seqs
    for rows in (None, None, [1] * seqs, [1] * (seqs - 1) + [most - seqs + 1]):
        segments = random_segments(rng, CONFIG, rows=rows)
        window = rng.choice((0, 1, rng.randrange(1, CONFIG.max_context), (1 << 32) - 1))
        group = rng.choice((1, 2, 3))
        await visits(dut, memory, segments, group=group, window=window, stall=stall)


@cocotb.test()
@cocotb.parametrize(stall=list(STALLS))
async def keys_and_values_begin_at_the_first_block(dut, stall):
    """Exponents of V are those of all positions; a sequence without limit follows each other."""
    rng = np.random.default_rng(14)
    memory = await prepare(dut, rng, 60_000, blocks=2, kv_heads=2)
    for pos_blocks in POS_BLOCKS:
        segment = segment_of(BLOCK_LEN * pos_blocks - 1)
        for first_block in range(0, pos_blocks, STEP):
            window = BLOCK_LEN * (pos_blocks - first_block)
            await visits(dut, memory, [segment], window=window, stall=stall)
        await visits(dut, memory, [segment], stall=stall)


@cocotb.test()
async def words_of_blocks_before_the_first_are_not_fetched(dut):
    rng = np.random.default_rng(15)
    memory = await prepare(dut, rng, 40_000, blocks=1, kv_heads=1)
    block = BLOCK_LEN * (BLOCK_LEN + 1 + BLOCK_LEN) // CONFIG.cols  # K with exponents, V
    exponents = SPANS * BLOCK_LEN // CONFIG.cols
    segment = segment_of(CONFIG.max_context - 1)
    for first_block in range(0, SPANS, STEP):
        window = CONFIG.max_context - BLOCK_LEN * first_block
        words = await visits(dut, memory, [segment], window=window)
        assert words == exponents + (SPANS - first_block) * block


@cocotb.test()
@cocotb.parametrize(sizes=[(255, 1, 1), (3, 255, 1), (2, 1, 15), (1, 1, 1)])
async def limits_of_heads_chunks_and_blocks(dut, sizes):
    kv_heads, group, blocks = sizes
    rng = np.random.default_rng(12)
    memory = await prepare(dut, rng, 40_000, blocks=blocks, kv_heads=kv_heads)
    await visits(dut, memory, [segment_of(0)], group=group)


@cocotb.test()
@cocotb.parametrize(stall=list(STALLS))
async def pages_layers_and_heads_may_lie_anywhere(dut, stall):
    """Every second time all bits of where they lie are the other way round; sums go round 2**32."""
    rng = seeded()
    memory = await prepare(dut, np.random.default_rng(17), 200_000, blocks=1, kv_heads=1)
    places = [(slot, page) for slot in range(CONFIG.max_seqs) for page in range(CONFIG.max_pages)]
    for number in range(16):
        if number % 2 == 0:
            offset, stride = rng.getrandbits(32), rng.getrandbits(32)
            memory.pages |= {place: rng.getrandbits(32) for place in places}
        else:
            offset, stride = ~offset % (1 << 32), ~stride % (1 << 32)
            memory.pages |= {place: ~memory.pages[place] % (1 << 32) for place in places}
        word = {
            "kv_offset": offset,
            "head_stride": stride,
            "kv_heads": rng.randrange(2, 4),
            "head_blocks": (1, 15, 2, 3)[number // 2 % 4],
            "group": 1,
            "window": rng.choice((0, rng.randrange(1, CONFIG.max_context))),
        }
        segments = random_segments(rng, CONFIG, rows=[1])
        steps = await begin(dut, memory, segments, word)
        wanted = [item for step in steps for item in named_by(word, memory.pages, *step)]
        await expects(dut, "o_descriptor", DESCRIPTOR, wanted, stall=STALLS[stall])


@cocotb.test()
@cocotb.parametrize(count=[1, CONFIG.max_seqs])
async def a_descriptor_every_three_cycles_and_four_between_steps(dut, count):
    rng = np.random.default_rng(13)
    memory = await prepare(dut, rng, 10_000, blocks=1, kv_heads=2)
    segments = [segment_of(CONFIG.max_context - 1, slot=slot) for slot in range(count)]
    dut.o_descriptor__ready.value = 1
    busy, at = [], []

    async def watches():
        while True:
            await ReadOnly()
            if dut.o_descriptor__valid.value:
                at.append(len(busy))
            busy.append(int(dut.busy.value))
            await RisingEdge(dut.clk)

    cocotb.start_soon(watches())
    steps = await begin(dut, memory, segments, {"group": 1, "window": 0})
    counts = [descriptor_count(memory, *step) for step in steps]
    for _ in range(4 * sum(counts) + 8 * count + 10):
        await RisingEdge(dut.clk)
    started = busy.index(1)
    gaps = [late - early for early, late in zip([started, *at], at, strict=False)]
    segment = None
    for (phase, item), number in zip(steps, counts, strict=True):
        fresh = phase == Phase.EXPONENTS and item["segment"] is not segment
        segment = item["segment"] if fresh else segment
        first, *others = (gaps.pop(0) for _ in range(number))
        assert 4 <= first <= (10 if item is steps[0][1] else 8) if fresh else first == 4, (
            phase,
            first,
        )
        assert others == [3] * len(others)
    assert at[0] == started + 10
    assert gaps == []
    assert busy == [int(started <= now <= at[-1]) for now in range(len(busy))]
