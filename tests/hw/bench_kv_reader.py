"""Bench for `hw.kv_reader`."""

import cocotb
import numpy as np
from cocotb.triggers import ReadOnly, RisingEdge

from hw.kv_reader import KvReader
from hw.spec.config import ArchConfig
from hw.spec.formats import BLOCK_LEN
from sim.compiler.kv_page import HeadCache
from tests.hw.kv_memory import KvMemory
from tests.hw.read_port import serves
from tests.support.bench import STALLS, collects, obeys_rules, params, start, watchdog

CONFIG = ArchConfig(**params()["config"])
DUT = KvReader(CONFIG)
DESCRIPTOR = DUT.o_descriptor.payload.shape()
SPANS = CONFIG.max_context // BLOCK_LEN
PAGE_SPANS = CONFIG.page_len // BLOCK_LEN
#: Blocks of positions: both ends, and around the first page's.
POS_BLOCKS = sorted({1, PAGE_SPANS, min(PAGE_SPANS + 1, SPANS), SPANS})
#: Blocks between two of which addresses are aligned.
STEP = max(1, CONFIG.align_bytes // BLOCK_LEN)


def joined(memory, head):
    """Return the cache of a head at all positions."""
    parts = [memory.head(page, head) for page in range(CONFIG.max_pages)]
    fields = ("k", "k_exponents", "v", "v_exponents")
    return HeadCache(**{name: np.concatenate([getattr(x, name) for x in parts]) for name in fields})


def expected_bytes(memory, pos_blocks, first_block, chunks):
    """Return what `Attention` takes, word after word."""
    cols, out = CONFIG.cols, []
    used, start = pos_blocks * BLOCK_LEN, first_block * BLOCK_LEN
    for head in range(memory.kv_heads):
        cache = joined(memory, head)
        for block in range(memory.blocks):
            out.append(cache.v_exponents[:used, block])
        for _ in range(chunks):
            for pos in range(start, used, cols):
                for block in range(memory.blocks):
                    out.append(cache.k_exponents[pos : pos + cols, block])
                    for element in range(BLOCK_LEN * block, BLOCK_LEN * (block + 1)):
                        out.append(cache.k[pos : pos + cols, element].view(np.uint8))
            for first in range(0, BLOCK_LEN * memory.blocks, cols):
                for pos in range(start, used):
                    out.append(cache.v[pos, first : first + cols].view(np.uint8))
    return np.concatenate(out)


def descriptor_count(memory, pos_blocks, first_block, chunks):
    pages = -(-pos_blocks // PAGE_SPANS)
    visited = pages - first_block // PAGE_SPANS
    runs = chunks * (1 + memory.blocks * CONFIG.subs)
    return memory.kv_heads * (pages * memory.blocks + visited * runs)


async def prepare(dut, rng, cycles, **sizes):
    memory = KvMemory(CONFIG, rng, **sizes)
    await start(dut)
    cocotb.start_soon(watchdog(dut, cycles))
    cocotb.start_soon(obeys_rules(dut, "o_descriptor"))
    cocotb.start_soon(serves(dut, 32, "page", memory.pages, addr="page_index"))
    return memory


async def begin(dut, memory, pos_blocks, chunks, first_block=0):
    dut.pos_blocks.value = pos_blocks
    dut.first_block.value = SPANS - 1  # what counts is there a cycle later
    dut.kv_heads.value = memory.kv_heads
    dut.chunks.value = chunks
    dut.head_blocks.value = memory.blocks
    dut.kv_offset.value = memory.kv_offset
    dut.head_stride.value = memory.head_stride
    dut.start.value = 1
    await RisingEdge(dut.clk)
    dut.start.value = 0
    dut.first_block.value = first_block


async def visits(dut, memory, pos_blocks, chunks, stall="never", first_block=0):
    """Run once, compare all the words that the descriptors name, and return how many."""
    await begin(dut, memory, pos_blocks, chunks, first_block)
    count = descriptor_count(memory, pos_blocks, first_block, chunks)
    descriptors = await collects(dut, "o_descriptor", DESCRIPTOR, count, stall=STALLS[stall])
    await ReadOnly()
    assert not dut.busy.value
    assert not dut.o_descriptor__valid.value
    assert all(item["addr"] % CONFIG.align_bytes == 0 for item in descriptors)
    parts = [memory.read(item["addr"], item["words"] * CONFIG.cols) for item in descriptors]
    expected = expected_bytes(memory, pos_blocks, first_block, chunks)
    np.testing.assert_array_equal(np.concatenate(parts), expected)
    await RisingEdge(dut.clk)
    return sum(item["words"] for item in descriptors)


@cocotb.test()
@cocotb.parametrize(stall=list(STALLS))
async def descriptors_name_the_words_that_attention_takes(dut, stall):
    rng = np.random.default_rng(11)
    blocks = CONFIG.max_head_dim // BLOCK_LEN
    memory = await prepare(dut, rng, 40_000, blocks=blocks, kv_heads=3)
    for pos_blocks in POS_BLOCKS:
        await visits(dut, memory, pos_blocks, 2, stall)


@cocotb.test()
@cocotb.parametrize(stall=list(STALLS))
async def keys_and_values_begin_at_the_first_block(dut, stall):
    """Exponents of V are those of all positions; a sequence without limit follows each other."""
    rng = np.random.default_rng(14)
    memory = await prepare(dut, rng, 60_000, blocks=2, kv_heads=2)
    for pos_blocks in POS_BLOCKS:
        for first_block in range(0, pos_blocks, STEP):
            await visits(dut, memory, pos_blocks, 2, stall, first_block)
        await visits(dut, memory, pos_blocks, 1, stall)


@cocotb.test()
async def words_of_blocks_before_the_first_are_not_fetched(dut):
    rng = np.random.default_rng(15)
    memory = await prepare(dut, rng, 40_000, blocks=1, kv_heads=1)
    block = BLOCK_LEN * (BLOCK_LEN + 1 + BLOCK_LEN) // CONFIG.cols  # K with exponents, V
    exponents = SPANS * BLOCK_LEN // CONFIG.cols
    for first_block in range(0, SPANS, STEP):
        words = await visits(dut, memory, SPANS, 1, first_block=first_block)
        assert words == exponents + (SPANS - first_block) * block


@cocotb.test()
@cocotb.parametrize(sizes=[(255, 1, 1), (2, 255, 1), (2, 1, 15), (1, 1, 1)])
async def limits_of_heads_chunks_and_blocks(dut, sizes):
    kv_heads, chunks, blocks = sizes
    rng = np.random.default_rng(12)
    memory = await prepare(dut, rng, 40_000, blocks=blocks, kv_heads=kv_heads)
    await visits(dut, memory, 1, chunks)


@cocotb.test()
async def a_descriptor_every_three_cycles(dut):
    rng = np.random.default_rng(13)
    memory = await prepare(dut, rng, 10_000, blocks=1, kv_heads=2)
    count = descriptor_count(memory, SPANS, 0, 2)
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
    await begin(dut, memory, SPANS, 2)
    for _ in range(3 * count + 10):
        await RisingEdge(dut.clk)
    started = busy.index(1)
    assert at == [started + 3 * (number + 1) for number in range(count)]
    assert busy == [0] * started + [1] * (3 * count + 1) + [0] * (
        len(busy) - started - 3 * count - 1
    )
