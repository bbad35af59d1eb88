"""Bench for attention as a whole: `tests.hw.attention_unit` beside the golden model."""

import cocotb
import numpy as np
from cocotb.triggers import ReadOnly, RisingEdge

from hw.activation_memory import Block
from hw.operator_word import operator_layout
from hw.spec.config import ArchConfig
from hw.spec.formats import BLOCK_LEN
from sim.compiler.kv_page import HeadCache
from sim.golden.attention import attend
from tests.hw.attention_unit import AttentionUnit
from tests.hw.kv_memory import KvMemory
from tests.hw.read_port import serves
from tests.support.bench import (
    STALLS,
    collects,
    obeys_rules,
    pack,
    params,
    sends,
    start,
    watchdog,
)

CONFIG = ArchConfig(**params()["config"])
DUT = AttentionUnit(CONFIG)
WORD = operator_layout("attention")
STREAM = DUT.i_words.payload.shape()
DESCRIPTOR = DUT.o_descriptor.payload.shape()
RESULT = DUT.o_act.payload.shape()
MOST, CONTEXT, PAGE = CONFIG.max_rows, CONFIG.max_context, CONFIG.page_len
SHIFT = 11  # brings scores to within a few octaves of each other
Q_SRC, DST = 3, 5

#: Windows: none, the row alone, less than a page, a page, no multiple of anything, past everything.
WINDOWS = [0, 1, PAGE - 7, PAGE, PAGE + 13, CONTEXT + 1]
#: Group and segments (first_pos, rows): chunks that fit half of the rows, that fit all of them, one
#: query head at a time of either, and all of these in turn. Where a context is a single page,
#: positions past it move to its end.
PASSES = [
    (2, [(PAGE - 3, MOST // 2)]),
    (2, [(PAGE + 5, MOST // 2 + 1)]),
    (1, [(CONTEXT - MOST, MOST)]),
    (3, [(CONTEXT - 1, 1)]),
    (8, [(PAGE - 1, 1), (0, 2), (CONTEXT - 3, 3)]),
    (2, [(7, 1), (PAGE - 2, MOST - 2), (CONTEXT - 1, 1)]),
    (1, [(PAGE - 1, 1), (3, 1), (CONTEXT - 1, 2), (0, MOST // 2)]),
    (3, [(31, MOST // 2), (CONTEXT - 1, 1), (0, MOST // 4), (1, 1)]),
    (1, [(0, MOST // 2 + 1), (PAGE + 1, 1), (CONTEXT - 2, 2)]),
]


def filled(rng, *, blocks, kv_heads):
    """Return pages whose every element and exponent is one that the chip could have written."""
    memory = KvMemory(CONFIG, rng, blocks=blocks, kv_heads=kv_heads)
    values, exponents = (PAGE, BLOCK_LEN * blocks), (PAGE, blocks)
    for slot, page in memory.pages:
        for head in range(kv_heads):
            fields = {
                "k": rng.integers(-127, 128, values),
                "k_exponents": rng.integers(0, 5, exponents),
                "v": rng.integers(-127, 128, values),
                "v_exponents": rng.integers(0, 10, exponents),
            }
            if page == 0:
                fields["v_exponents"][0] = 10  # counts in every maximum, whoever sees position 0
            kinds = {name: np.uint8 if "exp" in name else np.int8 for name in fields}
            fields = {name: value.astype(kinds[name]) for name, value in fields.items()}
            memory.store(slot, page, head, HeadCache(**fields))
    return memory


def past(memory, slot, end):
    """Return k, its exponents, v and its exponents of the positions before ``end``."""

    def joined(name):
        heads = [
            [getattr(memory.head(slot, page, head), name) for page in range(CONFIG.max_pages)]
            for head in range(memory.kv_heads)
        ]
        return np.stack([np.concatenate(pages)[:end] for pages in heads])

    return tuple(joined(name) for name in ("k", "k_exponents", "v", "v_exponents"))


async def streams(dut, memory, stall, fetched):
    """Answer descriptors with their words, for ever; note how many."""
    while True:
        [item] = await collects(dut, "o_descriptor", DESCRIPTOR, 1, stall=stall)
        fetched.append(item["words"])
        words = memory.read(item["addr"], item["words"] * CONFIG.cols).view(np.int8)
        await sends(dut, "i_words", STREAM, words.reshape(-1, CONFIG.cols).tolist(), stall=stall)


async def fill(dut, q, exponents):
    """Write queries (rows, heads, head_dim) into the activation memory."""
    rows, heads, blocks = exponents.shape
    for row in range(rows):
        for number in range(heads * blocks):
            head, block = divmod(number, blocks)
            values = q[row, head, block * BLOCK_LEN : (block + 1) * BLOCK_LEN].tolist()
            dut.write_en.value = 1
            dut.write_row.value = row
            dut.write_block.value = Q_SRC + number
            dut.write.value = pack(Block, {"q": values, "exp": int(exponents[row, head, block])})
            await RisingEdge(dut.clk)
    dut.write_en.value = 0


def words_needed(memory, first_pos, rows, chunks, window):
    """Return how many words of the stream hold what the rows need to see."""
    seen = {
        pos // BLOCK_LEN
        for row in range(first_pos, first_pos + rows)
        for pos in range(max(0, row + 1 - window) if window else 0, row + 1)
    }
    step = max(1, CONFIG.align_bytes // BLOCK_LEN)
    last = max(seen)
    visited = last + 1 - min(seen) // step * step
    size = (last + 1) + chunks * visited * (BLOCK_LEN + 1 + BLOCK_LEN)
    return memory.kv_heads * memory.blocks * size * BLOCK_LEN // CONFIG.cols


def segments_of(places):
    """Return segments that follow each other, of slots in another order."""
    segments, row0 = [], 0
    for number, (first_pos, rows) in enumerate(places):
        first_pos = min(first_pos, CONTEXT - rows)
        slot = CONFIG.max_seqs - 1 - number
        segments.append({"slot": slot, "row0": row0, "rows": rows, "first_pos": first_pos})
        row0 += rows
    return segments


async def run(dut, rng, memory, fetched, *, places, group, window, stall):
    """Run one operator, and compare all its results and the words it fetched."""
    heads, segments = memory.kv_heads * group, segments_of(places)
    count = sum(segment["rows"] for segment in segments)
    q = rng.integers(-127, 128, (count, heads, BLOCK_LEN * memory.blocks)).astype(np.int8)
    exponents = rng.integers(0, 5, (count, heads, memory.blocks)).astype(np.uint8)
    await fill(dut, q, exponents)
    word = {
        "q_src": Q_SRC,
        "dst": DST,
        "head_blocks": memory.blocks,
        "kv_heads": memory.kv_heads,
        "group": group,
        "shift": SHIFT,
        "kv_offset": memory.kv_offset,
        "head_stride": memory.head_stride,
        "window": window,
    }
    unused = [{}] * (CONFIG.max_seqs - len(segments))
    dut.table.value = pack(DUT.table.shape(), segments + unused)
    dut.word.value = pack(WORD, word)
    dut.segments.value = len(segments)
    dut.start.value = 1
    await RisingEdge(dut.clk)
    dut.start.value = 0
    fetched.clear()
    expected, words = {}, 0
    for segment in segments:
        rows, first_pos = segment["rows"], segment["first_pos"]
        part = slice(segment["row0"], segment["row0"] + rows)
        cache = past(memory, segment["slot"], first_pos + rows)
        out = attend(q[part], exponents[part], *cache, first_pos, SHIFT, window=window)
        expected |= {
            (segment["row0"] + row, DST + block, beat): lanes.tolist()
            for row, blocks in enumerate(out.reshape(rows, -1, CONFIG.beats, CONFIG.lanes))
            for block, beats in enumerate(blocks)
            for beat, lanes in enumerate(beats)
        }
        chunks = 1 if group * rows <= MOST else group
        words += words_needed(memory, first_pos, rows, chunks, window)
    beats = await collects(dut, "o_act", RESULT, len(expected), stall=STALLS[stall])
    got = {(x["meta"]["row"], x["meta"]["dst"], x["meta"]["beat"]): x["data"] for x in beats}
    assert got.keys() == expected.keys()
    for place, lanes in expected.items():
        assert got[place] == lanes, f"row, block, beat {place}: {got[place]}, expected {lanes}"
    assert sum(fetched) == words
    while True:
        await ReadOnly()
        busy = int(dut.busy.value)
        await RisingEdge(dut.clk)
        if not busy:
            return


async def prepare(dut, rng, stall, *, blocks, kv_heads, cycles):
    memory = filled(rng, blocks=blocks, kv_heads=kv_heads)
    fetched = []
    await start(dut)
    cocotb.start_soon(watchdog(dut, cycles))
    cocotb.start_soon(obeys_rules(dut, "o_act"))
    cocotb.start_soon(obeys_rules(dut, "o_descriptor"))
    cocotb.start_soon(serves(dut, 32, "page", memory.pages, addr=("page_slot", "page_index")))
    cocotb.start_soon(streams(dut, memory, STALLS[stall], fetched))
    return memory, fetched


@cocotb.test()
@cocotb.parametrize(window=WINDOWS)
async def attention_equals_golden(dut, window):
    """Passes of all kinds, one after the other: nothing is left of the one before."""
    number = WINDOWS.index(window)
    rng = np.random.default_rng(40 + number)
    heads = 1 + number % 2
    memory, fetched = await prepare(dut, rng, "never", blocks=1, kv_heads=heads, cycles=200_000)
    for group, places in PASSES[number % 3 :: 3]:
        sizes = {"places": places, "group": group}
        await run(dut, rng, memory, fetched, **sizes, window=window, stall="never")


@cocotb.test()
@cocotb.parametrize(stall=["one_in_four", "at_random"])
async def stalls_change_nothing(dut, stall):
    rng = np.random.default_rng(50)
    blocks = CONFIG.max_head_dim // BLOCK_LEN
    memory, fetched = await prepare(dut, rng, stall, blocks=blocks, kv_heads=1, cycles=400_000)
    passes = [
        (0, [(CONTEXT - MOST, MOST)]),
        (PAGE - 7, [(1, 1), (CONTEXT - 1, 1), (PAGE - 1, MOST // 2)]),
    ]
    for window, places in passes:
        sizes = {"places": places, "group": 1}
        await run(dut, rng, memory, fetched, **sizes, window=window, stall=stall)


@cocotb.test()
@cocotb.parametrize(seed=range(3))
async def short_heads_overtake_nothing(dut, seed):
    """Single blocks of positions: scores, probabilities and results of several items at once."""
    print(f"seed {seed}")
    rng = np.random.default_rng(seed)
    memory, fetched = await prepare(dut, rng, "never", blocks=1, kv_heads=3, cycles=200_000)
    for _ in range(3):
        group, room, places = int(rng.choice([1, 2, 3, 5])), MOST, []
        while room and len(places) < CONFIG.max_seqs:
            rows = int(rng.choice([1, 1, 2, rng.integers(1, room + 1)]))
            rows = min(rows, room)
            places.append((int(rng.integers(0, 33 - min(rows, 32))), rows))
            room -= rows
        sizes = {"places": places, "group": group}
        window = int(rng.choice([0, 0, 1, 9]))
        await run(dut, rng, memory, fetched, **sizes, window=window, stall="never")


@cocotb.test()
async def windows_of_decode_move_through_all_positions(dut):
    """One row after the other, as in decode, with windows that begin inside a block of 32."""
    rng = np.random.default_rng(60)
    memory, fetched = await prepare(dut, rng, "never", blocks=1, kv_heads=1, cycles=300_000)
    for first_pos in range(PAGE - 2, CONTEXT, 23):
        for window in (5, BLOCK_LEN + 1):
            sizes = {"places": [(first_pos, 1)], "group": 2}
            await run(dut, rng, memory, fetched, **sizes, window=window, stall="never")
