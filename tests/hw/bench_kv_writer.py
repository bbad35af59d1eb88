"""Bench for `hw.kv_writer`."""

import cocotb
import numpy as np
from cocotb.triggers import ReadOnly, RisingEdge

from hw.jobs import row_place
from hw.kv_writer import KvWriter, kv_block_layout
from hw.spec import layout
from hw.spec.config import ArchConfig
from hw.spec.formats import BLOCK_LEN, EXP_WIDTH
from tests.hw.kv_memory import KvMemory
from tests.hw.read_port import serves
from tests.hw.vector_stream import seeded
from tests.support.bench import (
    STALLS,
    collects,
    measures,
    obeys_rules,
    params,
    sends,
    start,
    watchdog,
)

CONFIG = ArchConfig(**params()["config"])
DUT = KvWriter(CONFIG)
BLOCK = kv_block_layout(CONFIG)
COMMAND = DUT.o_write.payload.shape()
BEAT = DUT.o_wdata.payload.shape()
LAST_ROW = CONFIG.max_rows - 1
CROSSING = CONFIG.page_len - CONFIG.max_rows // 2  # rows on both sides of a page's end
FIRST_POS = [0, CONFIG.max_context - CONFIG.max_rows]
FIRST_POS += [CROSSING] if CONFIG.max_pages > 1 else []


def block(rng, row, head, index, is_value):
    q = rng.integers(-128, 128, BLOCK_LEN)
    q[rng.integers(BLOCK_LEN)], q[0] = rng.choice((-128, 127, -1, 0)), rng.choice((-128, 127))
    exp = int(rng.choice((0, (1 << EXP_WIDTH) - 1, rng.integers(1 << EXP_WIDTH))))
    return {
        "block": {"q": q.tolist(), "exp": exp},
        "is_value": int(is_value),
        "row": int(row),
        "head": int(head),
        "index": int(index),
    }


def some_blocks(rng, memory, count):
    """Return K and V of the first and the last row, head and block, and some between."""
    places = [(0, 0, 0), (LAST_ROW, memory.kv_heads - 1, memory.blocks - 1)]
    places += [
        (rng.integers(LAST_ROW + 1), rng.integers(memory.kv_heads), rng.integers(memory.blocks))
        for _ in range(count)
    ]
    blocks = [block(rng, *place, is_value) for place in places for is_value in (False, True)]
    return [blocks[n] for n in rng.permutation(len(blocks))]


def port_use(blocks, first_pos, item):
    """Return the commands and beats that a block needs."""
    if item["is_value"]:
        return 1 + CONFIG.subs, 1 + CONFIG.subs
    # A group of K lies word after word from a multiple of 33 words on.
    per_beat = CONFIG.port_bytes // CONFIG.cols
    group = (first_pos + item["row"]) % CONFIG.page_len // CONFIG.cols
    first = (group * blocks + item["index"]) * (BLOCK_LEN + 1)
    return 1, (first + BLOCK_LEN) // per_beat - first // per_beat + 1


async def stays_in(dut, channel):
    """Watch for ever that everything is for one channel."""
    while True:
        await ReadOnly()
        if int(dut.o_write__valid.value) or int(dut.o_wdata__valid.value):
            assert int(dut.channel.value) == channel
        await RisingEdge(dut.clk)


async def appends(dut, memory, first_pos, items, i_stall="never", o_stall="never", channel=0):
    """Let the unit append blocks of a channel, and compare its memory with the slow way."""
    heads = [item | {"head": item["head"] * CONFIG.tiles + channel} for item in items]
    watch = cocotb.start_soon(stays_in(dut, channel)) if CONFIG.tiles > 1 else None
    memory.places |= places(first_pos)
    dut.kv_offset.value = memory.kv_offset
    dut.head_stride.value = memory.head_stride
    dut.head_blocks.value = memory.blocks
    uses = [port_use(memory.blocks, first_pos, item) for item in items]
    sender = cocotb.start_soon(sends(dut, "i_block", BLOCK, heads, stall=STALLS[i_stall]))
    stall = STALLS[o_stall]
    counts = [sum(use) for use in zip(*uses, strict=True)]
    commands = cocotb.start_soon(collects(dut, "o_write", COMMAND, counts[0], stall=stall))
    beats = cocotb.start_soon(collects(dut, "o_wdata", BEAT, counts[1], stall=stall))
    await sender
    commands, beats = await commands, await beats
    await RisingEdge(dut.clk)
    await ReadOnly()
    assert not dut.busy.value
    before = memory.bytes.copy()
    for item in items:
        memory.append(
            *memory.places[item["row"]].values(), item["head"], item["index"],
            is_value=item["is_value"], q=item["block"]["q"], exp=item["block"]["exp"],
        )  # fmt: skip
    expected, memory.bytes = memory.bytes, before
    memory.write(commands, beats)
    wrong = np.flatnonzero(memory.bytes != expected)
    assert not len(wrong), f"{len(wrong)} bytes differ, the first at {wrong[0]:#x}"
    if watch:
        watch.cancel()
    await RisingEdge(dut.clk)


def places(first_pos):
    """Return slot and position of each row: neighbours are of different sequences."""
    return {
        row: {"slot": (row + 1) % CONFIG.max_seqs, "position": first_pos + row}
        for row in range(CONFIG.max_rows)
    }


async def prepare(dut, rng, cycles, **sizes):
    memory = KvMemory(CONFIG, rng, **sizes)
    memory.places = places(0)
    await start(dut)
    cocotb.start_soon(watchdog(dut, cycles))
    cocotb.start_soon(obeys_rules(dut, "o_write"))
    cocotb.start_soon(obeys_rules(dut, "o_wdata"))
    cocotb.start_soon(serves(dut, 32, "page", memory.pages, addr=("page_slot", "page_index")))
    cocotb.start_soon(serves(dut, row_place(CONFIG), "place", memory.places, addr="row"))
    return memory


@cocotb.test()
@cocotb.parametrize(i_stall=list(STALLS), o_stall=list(STALLS))
async def memory_equals_the_layout_and_nothing_else_changes(dut, i_stall, o_stall):
    rng = np.random.default_rng([5, len(i_stall), len(o_stall)])
    blocks = CONFIG.max_head_dim // BLOCK_LEN
    memory = await prepare(dut, rng, 40_000, blocks=blocks, kv_heads=3)
    for first_pos in FIRST_POS:
        for channel in range(CONFIG.tiles):
            items = some_blocks(rng, memory, 5)
            await appends(dut, memory, first_pos, items, i_stall, o_stall, channel)


@cocotb.test()
@cocotb.parametrize(sizes=[(1, 256 // CONFIG.tiles), (15, 2), (1, 1)])
async def limits_of_heads_and_blocks(dut, sizes):
    rng = np.random.default_rng(6)
    blocks, kv_heads = sizes
    last = CONFIG.tiles - 1
    memory = await prepare(dut, rng, 20_000, blocks=blocks, kv_heads=kv_heads)
    for first_pos in FIRST_POS:
        await appends(dut, memory, first_pos, some_blocks(rng, memory, 2), channel=last)


@cocotb.test()
async def every_position_of_a_page(dut):
    rng = np.random.default_rng(7)
    memory = await prepare(dut, rng, 20_000, blocks=1, kv_heads=1)
    for first_pos in range(0, CONFIG.page_len, CONFIG.max_rows):
        items = [
            block(rng, row, 0, 0, is_value)
            for row in range(CONFIG.max_rows)
            for is_value in (False, True)
        ]
        await appends(dut, memory, first_pos, items, o_stall="one_in_four")


def aligned(addr):
    return addr % (1 << 32) & -CONFIG.align_bytes


def bytes_written(commands, beats):
    """Return the bytes that commands and their beats write, by address."""
    size, written, beats = CONFIG.port_bytes, {}, iter(beats)
    for command in commands:
        assert command["addr"] % size == 0
        for number in range(command["beats"]):
            beat = next(beats)
            for lane in range(size):
                if beat["strobe"] >> lane & 1:
                    written[(command["addr"] + number * size + lane) % (1 << 32)] = beat["data"][
                        lane
                    ]
    assert next(beats, None) is None
    return written


def places_of_block(item, blocks):
    """Return where the bytes of a block lie: the exponent's place in a head, and the elements'."""
    cols, page_len = CONFIG.cols, CONFIG.page_len
    row = item["position"] % page_len
    if item["is_value"]:
        first = (
            layout.v_offset(CONFIG, blocks) + (item["index"] * CONFIG.subs * page_len + row) * cols
        )
        elements = [first + i // cols * page_len * cols + i % cols for i in range(BLOCK_LEN)]
        return layout.v_exp_offset(CONFIG, blocks) + item["index"] * page_len + row, elements
    group, lane = divmod(row, cols)
    first = (group * blocks + item["index"]) * (BLOCK_LEN + 1) * cols + lane
    return first, [first + (1 + i) * cols for i in range(BLOCK_LEN)]


@cocotb.test()
@cocotb.parametrize(o_stall=list(STALLS))
async def pages_layers_and_heads_may_lie_anywhere(dut, o_stall):
    """Every second time all bits of where they lie are the other way round; sums go round 2**32."""
    seed = seeded()
    rng = np.random.default_rng(seed.getrandbits(16))
    memory = await prepare(dut, rng, 60_000, blocks=1, kv_heads=1)
    channels = [0, CONFIG.tiles - 1]
    for number in range(16):
        if number % 2 == 0:
            offset, stride = aligned(seed.getrandbits(32)), aligned(seed.getrandbits(32))
            memory.pages |= {place: aligned(seed.getrandbits(32)) for place in memory.pages}
        else:
            offset, stride = aligned(~offset), aligned(~stride)
            memory.pages |= {place: aligned(~page) for place, page in memory.pages.items()}
        blocks, channel = (15, 1, 2, 7)[number // 2 % 4], seed.choice(channels)
        first_pos = seed.choice(FIRST_POS)
        memory.places |= places(first_pos)
        dut.kv_offset.value, dut.head_stride.value = offset, stride
        dut.head_blocks.value = blocks
        items, expected, counts = [], {}, [0, 0]
        for is_value in (0, 1, 1, 0):
            head = seed.choice((0, 255 // CONFIG.tiles, seed.randrange(256 // CONFIG.tiles)))
            row, index = seed.randrange(CONFIG.max_rows), seed.choice((0, blocks - 1))
            item = block(rng, row, head * CONFIG.tiles + channel, index, is_value)
            items.append(item)
            counts = [a + b for a, b in zip(counts, port_use(blocks, first_pos, item), strict=True)]
            slot, position = memory.places[row].values()
            start_of_head = memory.pages[slot, position // CONFIG.page_len] + offset + head * stride
            exponent, elements = places_of_block(item | {"position": position}, blocks)
            values = [item["block"]["exp"], *(q % 256 for q in item["block"]["q"])]
            for place, value in zip([exponent, *elements], values, strict=True):
                expected[(start_of_head + place) % (1 << 32)] = value
        cocotb.start_soon(sends(dut, "i_block", BLOCK, items))
        stall = STALLS[o_stall]
        commands = cocotb.start_soon(collects(dut, "o_write", COMMAND, counts[0], stall=stall))
        beats = cocotb.start_soon(collects(dut, "o_wdata", BEAT, counts[1], stall=stall))
        assert bytes_written(await commands, await beats) == expected
        await RisingEdge(dut.clk)
        await ReadOnly()
        assert not dut.busy.value
        await RisingEdge(dut.clk)


async def notes_channels(dut, name, count):
    """Return the channel of each of so many transfers."""
    valid, ready = (getattr(dut, f"{name}__{side}") for side in ("valid", "ready"))
    found = []
    while len(found) < count:
        await ReadOnly()
        if int(valid.value) and int(ready.value):
            found.append(int(dut.channel.value))
        await RisingEdge(dut.clk)
    return found


@cocotb.test()
@cocotb.parametrize(o_stall=list(STALLS))
async def words_go_to_the_channel_of_their_head(dut, o_stall):
    """The next block may be there, of another channel, while the last word waits."""
    rng = np.random.default_rng([10, len(o_stall)])
    memory = await prepare(dut, rng, 20_000, blocks=1, kv_heads=1)
    dut.head_blocks.value = 1
    items = [block(rng, n % CONFIG.max_rows, n, 0, rng.integers(2)) for n in range(20)]
    uses = [port_use(memory.blocks, 0, item) for item in items]
    counts = [sum(use) for use in zip(*uses, strict=True)]
    cocotb.start_soon(sends(dut, "i_block", BLOCK, items))
    watches = []
    for name, shape, count in zip(("o_write", "o_wdata"), (COMMAND, BEAT), counts, strict=True):
        cocotb.start_soon(collects(dut, name, shape, count, stall=STALLS[o_stall]))
        watches.append(cocotb.start_soon(notes_channels(dut, name, count)))
    for watch, found in zip(watches, zip(*uses, strict=True), strict=True):
        channels = [n % CONFIG.tiles for n, use in enumerate(found) for _ in range(use)]
        assert await watch == channels


@cocotb.test()
@cocotb.parametrize(is_value=[False, True])
async def timing_is_as_documented(dut, is_value):
    """From a block to the next, and from a block to its first command."""
    rng = np.random.default_rng(8)
    memory = await prepare(dut, rng, 2000, blocks=2, kv_heads=2)
    dut.head_blocks.value = 2
    dut.head_stride.value = memory.head_stride
    items = [block(rng, row % CONFIG.max_rows, 1, 1, is_value) for row in range(10)]
    cocotb.start_soon(sends(dut, "i_block", BLOCK, items))
    dut.o_write__ready.value = 1
    dut.o_wdata__ready.value = 1
    first = cocotb.start_soon(measures(dut, "i_block", "o_write", 1))
    _, cycles = await measures(dut, "i_block", "i_block", 10)
    period = 10 + (2 * CONFIG.subs if is_value else BLOCK_LEN)
    assert cycles == 9 * period + 1
    assert await first == (6, 1)
    busy = 0
    while True:
        await RisingEdge(dut.clk)
        await ReadOnly()
        if not dut.busy.value:
            break
        busy += 1
    assert busy == period - 1
