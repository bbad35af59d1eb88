"""Bench for `hw.row_tables`."""

import random

import cocotb
import numpy as np
from cocotb.triggers import ClockCycles, ReadOnly, RisingEdge

from hw.operator_word import operator_layout
from hw.row_tables import RowTables
from hw.spec.config import ArchConfig
from hw.spec.formats import BLOCK_LEN
from hw.spec.layout import embed_row_words, rope_row_words
from sim.golden.embedding import embed
from tests.hw.read_port import serves
from tests.hw.vector_stream import noise
from tests.support.bench import (
    STALLS,
    expects,
    measures,
    obeys_rules,
    pack,
    params,
    sends,
    start,
    unpack,
    watchdog,
)

CONFIG = ArchConfig(**params()["config"])
DUT = RowTables(CONFIG)
DESCRIPTOR = DUT.o_descriptor.payload.shape()
ENTRY = DUT.i_entry.payload.shape()
RESIDUAL = DUT.o_residual.payload.shape()
TABLE = DUT.table_entry.shape()
WORD = operator_layout("embed")
VOCABULARY = 50_000
ADDR = 0x8000_0040
RNG = random.Random(90)  # for what does not matter


def rows_of_entries(rng, rows, words):
    """Return random table rows: bytes (row, entry, byte)."""
    data = rng.integers(
        0, 256, (rows, words * CONFIG.cols // CONFIG.entry_bytes, CONFIG.entry_bytes)
    )
    data[rng.random(data.shape) < 0.2] = 128
    return data


def embedded(data, blocks, shift, add=0):
    """Return what an embedding writes into the residual."""
    out = []
    beats = blocks * CONFIG.beats
    for row, entries in enumerate(data):
        multiplier = int(entries[0, 0]) | int(entries[0, 1]) << 8
        elements = entries[1:].reshape(-1)[: BLOCK_LEN * blocks].astype(np.uint8).view(np.int8)
        values = embed(elements[None], np.array([multiplier]), shift)[0]
        for beat, lanes in enumerate(values.reshape(beats, CONFIG.lanes)):
            out.append({
                "data": lanes.tolist(), "row": row, "beat": beat, "add": add,
                "first": int(beat == 0),
            })  # fmt: skip
    return out


async def prepare(dut, rng, tokens, cycles=40_000):
    """Serve a token, and a position of its own, for each row; return the positions."""
    await start(dut)
    cocotb.start_soon(watchdog(dut, cycles))
    for name in ("o_descriptor", "o_residual"):
        cocotb.start_soon(obeys_rules(dut, name))
    await rests_whatever_the_word_is(dut)
    positions = rng.permutation(CONFIG.max_context)[: CONFIG.max_rows].tolist()
    # Of both ends, and neighbours that do not follow each other.
    positions[:3] = CONFIG.max_context - 2, 0, CONFIG.max_context - 1
    cocotb.start_soon(serves(dut, 32, "token", dict(enumerate(tokens)), addr="row"))
    shape = DUT.position.shape()
    cocotb.start_soon(serves(dut, shape, "position", dict(enumerate(positions)), addr="row"))
    return positions


async def rests_whatever_the_word_is(dut):
    """Nothing is asked and nothing taken before the start."""
    for _ in range(4):
        for name in ("word", "rows", "is_rope", "token", "position"):
            port = getattr(dut, name)
            port.value = RNG.getrandbits(len(port))
        await RisingEdge(dut.clk)
        await ReadOnly()
        for name in ("busy", "issuing", "o_descriptor__valid", "i_entry__ready", "table_en"):
            assert not getattr(dut, name).value, name
        await RisingEdge(dut.clk)


async def begin(dut, *, word, rows, is_rope=False):
    dut.word.value = pack(WORD, word)
    dut.rows.value = rows
    dut.is_rope.value = int(is_rope)
    dut.start.value = 1
    await ReadOnly()
    assert dut.busy.value
    assert dut.issuing.value
    await RisingEdge(dut.clk)
    dut.start.value = 0


async def until_idle(dut):
    while True:
        await ReadOnly()
        if not dut.busy.value:
            break
        await RisingEdge(dut.clk)
    assert not dut.issuing.value
    await RisingEdge(dut.clk)


def word_of(**fields):
    """Return an operator's word; the fields that are not named hold anything."""
    return noise(RNG, WORD) | {"addr": ADDR} | fields


def embed_word(blocks, shift=9, valid=VOCABULARY, positions=0):
    words = embed_row_words(CONFIG, blocks)
    fields = {"words": words, "shift": shift, "blocks": blocks, "valid": valid}
    return word_of(**fields, positions=positions), words


def rope_word(blocks):
    """A rope word, and the words of its rows: padded, as if alignment were twice what it is."""
    words = rope_row_words(CONFIG, blocks) + CONFIG.align_bytes // CONFIG.cols
    return word_of(words=words, blocks=blocks), words


def places(indices, words, addr=ADDR):
    return [
        {"addr": (addr + index * words * CONFIG.cols) % (1 << 32), "words": words}
        for index in indices
    ]


@cocotb.test()
@cocotb.parametrize(i_stall=list(STALLS), o_stall=list(STALLS))
async def embedding_equals_golden(dut, i_stall, o_stall):
    """Residuals of all lengths, passes of one row and of all, the first and the last token."""
    rng = np.random.default_rng(91)
    tokens = rng.integers(0, VOCABULARY, CONFIG.max_rows).tolist()
    tokens[0], tokens[-1] = VOCABULARY - 1, 0
    await prepare(dut, rng, tokens)
    for blocks, rows in ((1, 1), (CONFIG.max_dim // BLOCK_LEN, CONFIG.max_rows), (2, 3)):
        shift = int(rng.integers(0, 64))
        word, words = embed_word(blocks, shift)
        data = rows_of_entries(rng, rows, words)
        entries = data.reshape(-1, CONFIG.entry_bytes).tolist()
        stall = STALLS[o_stall]
        await begin(dut, word=word, rows=rows)
        tasks = [
            cocotb.start_soon(sends(dut, "i_entry", ENTRY, entries, stall=STALLS[i_stall])),
            cocotb.start_soon(
                expects(dut, "o_descriptor", DESCRIPTOR, places(tokens[:rows], words), stall=stall)
            ),
        ]
        await expects(dut, "o_residual", RESIDUAL, embedded(data, blocks, shift), stall=stall)
        for task in tasks:
            await task
        await until_idle(dut)


@cocotb.test()
@cocotb.parametrize(i_stall=list(STALLS), o_stall=list(STALLS))
async def embedding_of_positions_is_added(dut, i_stall, o_stall):
    """After one of tokens; of any position, up to the last that the table has."""
    rng = np.random.default_rng(95)
    tokens = rng.integers(0, VOCABULARY, CONFIG.max_rows).tolist()
    places_of_rows = await prepare(dut, rng, tokens)
    stall = STALLS[o_stall]
    for blocks, rows in ((1, 1), (CONFIG.max_dim // BLOCK_LEN, CONFIG.max_rows), (2, 3)):
        for positions in (0, 1):
            shift = int(rng.integers(0, 64))
            valid = max(places_of_rows[:rows]) + 1 if positions else VOCABULARY
            word, words = embed_word(blocks, shift, valid, positions=positions)
            data = rows_of_entries(rng, rows, words)
            entries = data.reshape(-1, CONFIG.entry_bytes).tolist()
            wanted = places((places_of_rows if positions else tokens)[:rows], words)
            results = embedded(data, blocks, shift, positions)
            await begin(dut, word=word, rows=rows)
            tasks = [
                cocotb.start_soon(sends(dut, "i_entry", ENTRY, entries, stall=STALLS[i_stall])),
                cocotb.start_soon(expects(dut, "o_descriptor", DESCRIPTOR, wanted, stall=stall)),
            ]
            await expects(dut, "o_residual", RESIDUAL, results, stall=stall)
            for task in tasks:
                await task
            await until_idle(dut)


@cocotb.test()
async def busy_lasts_until_the_last_beat_is_written(dut):
    rng = np.random.default_rng(94)
    await prepare(dut, rng, [1] * CONFIG.max_rows)
    word, words = embed_word(1)
    entries = rows_of_entries(rng, 1, words).reshape(-1, CONFIG.entry_bytes).tolist()
    dut.o_descriptor__ready.value = 1
    dut.o_residual__ready.value = 1
    await begin(dut, word=word, rows=1)
    await sends(dut, "i_entry", ENTRY, entries)
    dut.o_residual__ready.value = 0
    for _ in range(10):
        await ReadOnly()
        assert dut.busy.value
        await RisingEdge(dut.clk)
    assert dut.o_residual__valid.value
    dut.o_residual__ready.value = 1
    await until_idle(dut)
    assert not dut.o_residual__valid.value


async def records_table(dut, seen):
    """Record what is written into the rope table, for ever."""
    while True:
        await ReadOnly()
        if dut.table_en.value:
            key = int(dut.table_row.value), int(dut.table_addr.value)
            assert key not in seen
            seen[key] = unpack(TABLE, dut.table_entry.value)
        await RisingEdge(dut.clk)


@cocotb.test()
@cocotb.parametrize(i_stall=list(STALLS), o_stall=list(STALLS))
async def rope_rows_go_into_the_table(dut, i_stall, o_stall):
    """Of any position, up to the last; tokens do not matter."""
    rng = np.random.default_rng(92)
    positions = await prepare(dut, rng, [VOCABULARY] * CONFIG.max_rows)
    most = CONFIG.max_head_dim // BLOCK_LEN
    seen = {}
    cocotb.start_soon(records_table(dut, seen))
    for blocks, rows in ((1, 1), (most, CONFIG.max_rows), (most, 2)):
        seen.clear()
        word, words = rope_word(blocks)
        data = rows_of_entries(rng, rows, words)
        entries = data.reshape(-1, CONFIG.entry_bytes).tolist()
        await begin(dut, word=word, rows=rows, is_rope=True)
        sender = cocotb.start_soon(sends(dut, "i_entry", ENTRY, entries, stall=STALLS[i_stall]))
        wanted = places(positions[:rows], words)
        await expects(dut, "o_descriptor", DESCRIPTOR, wanted, stall=STALLS[o_stall])
        await sender
        await until_idle(dut)
        pairs = data.astype(np.uint8).view(np.int16)
        used = blocks * CONFIG.beats
        assert seen == {
            (row, entry): pairs[row, entry].tolist() for row in range(rows) for entry in range(used)
        }


@cocotb.test()
@cocotb.parametrize(token=[VOCABULARY, VOCABULARY + 1, 1 << 24, (1 << 32) - 1], row=[0, 2])
async def a_bad_token_is_told_and_nothing_fetched_for_it(dut, token, row):
    tokens = [7] * CONFIG.max_rows
    tokens[row] = token
    word, words = embed_word(1)
    await prepare(dut, np.random.default_rng(96), tokens)
    told = []
    cocotb.start_soon(watches_refusals(dut, told))
    await begin(dut, word=word, rows=3)
    await is_refused(dut, places([7] * row, words))
    assert told == [("token", token)]


@cocotb.test()
@cocotb.parametrize(row=[0, 2])
async def a_position_past_the_table_is_told_and_nothing_fetched_for_it(dut, row):
    """Tokens do not matter, whatever they are."""
    positions = await prepare(dut, np.random.default_rng(97), [(1 << 32) - 1] * CONFIG.max_rows)
    word, words = embed_word(1, valid=positions[row], positions=1)
    told = []
    cocotb.start_soon(watches_refusals(dut, told))
    await begin(dut, word=word, rows=3)
    await is_refused(dut, places(positions[:row], words))
    assert told == [("position", positions[row])]


async def watches_refusals(dut, told):
    """Note what is refused, for ever."""
    while True:
        await ReadOnly()
        for name in ("token", "position"):
            if getattr(dut, f"bad_{name}").value:
                told.append((name, int(getattr(dut, name).value)))
        await RisingEdge(dut.clk)


async def is_refused(dut, before):
    """Take the descriptors before the refusal, and see that nothing follows."""
    await expects(dut, "o_descriptor", DESCRIPTOR, before)
    dut.o_descriptor__ready.value = 1
    for _ in range(20):
        await ReadOnly()
        assert not dut.o_descriptor__valid.value
        assert dut.issuing.value
        await RisingEdge(dut.clk)


@cocotb.test()
async def a_descriptor_every_five_cycles(dut):
    await prepare(dut, np.random.default_rng(98), [1] * CONFIG.max_rows)
    at = []
    word, _ = embed_word(1)
    dut.o_descriptor__ready.value = 1
    await begin(dut, word=word, rows=CONFIG.max_rows)
    for number in range(1, 5 * CONFIG.max_rows + 10):
        await ReadOnly()
        if dut.o_descriptor__valid.value:
            at.append(number)
        await RisingEdge(dut.clk)
    assert at == [5 * (n + 1) for n in range(CONFIG.max_rows)]


@cocotb.test()
@cocotb.parametrize(seed=range(2))
async def tables_may_lie_anywhere_and_be_of_any_size(dut, seed):
    """Every second time all bits are the other way round."""
    print(f"seed {seed}")
    rng = random.Random(seed)
    widths = {"addr": 32, "words": 16, "valid": 24, "blocks": 10}
    for number in range(8):
        if number % 2 == 0:
            drawn = {name: rng.getrandbits(width) for name, width in widths.items()}
        turned = {name: ~drawn[name] % (1 << width) for name, width in widths.items()}
        fields = dict(turned if number % 2 else drawn)
        fields["valid"] |= 2
        tokens = [rng.randrange(fields["valid"]) for _ in range(CONFIG.max_rows)]
        tokens[1] = ~tokens[0] % fields["valid"]
        await prepare(dut, np.random.default_rng(99), tokens)
        await begin(dut, word=word_of(**fields, positions=0), rows=CONFIG.max_rows)
        wanted = places(tokens, fields["words"], fields["addr"])
        await expects(dut, "o_descriptor", DESCRIPTOR, wanted)
        await ReadOnly()
        assert not dut.issuing.value
        assert dut.busy.value  # no entry has come
        await RisingEdge(dut.clk)


@cocotb.test()
async def the_longest_row_ends_with_its_last_entry(dut):
    """As long as the field allows; what lies behind the table is taken and dropped."""
    positions = await prepare(dut, np.random.default_rng(100), [0] * CONFIG.max_rows, 100_000)
    step = max(1, CONFIG.entry_bytes // CONFIG.cols)
    words = (1 << 16) - step
    entries = words * CONFIG.cols // CONFIG.entry_bytes
    await begin(dut, word=word_of(words=words, blocks=1), rows=1, is_rope=True)
    await expects(dut, "o_descriptor", DESCRIPTOR, places(positions[:1], words))
    dut.i_entry__valid.value = 1
    await ClockCycles(dut.clk, entries - 1)
    await ReadOnly()
    assert dut.busy.value
    assert dut.i_entry__ready.value
    assert not dut.table_en.value
    await RisingEdge(dut.clk)
    dut.i_entry__valid.value = 0
    await RisingEdge(dut.clk)
    await ReadOnly()
    assert not dut.busy.value


@cocotb.test()
@cocotb.parametrize(is_rope=[False, True])
async def entries_move_as_documented(dut, is_rope):
    rng = np.random.default_rng(93)
    await prepare(dut, rng, [1] * CONFIG.max_rows)
    blocks = CONFIG.max_head_dim // BLOCK_LEN
    word, words = rope_word(blocks) if is_rope else embed_word(blocks)
    data = rows_of_entries(rng, 2, words)
    entries = data.reshape(-1, CONFIG.entry_bytes).tolist()
    dut.o_residual__ready.value = 1
    watching = cocotb.start_soon(measures(dut, "i_entry", "i_entry", len(entries)))
    await begin(dut, word=word, rows=2, is_rope=is_rope)
    cocotb.start_soon(sends(dut, "i_entry", ENTRY, entries))
    _, cycles = await watching
    used = 0 if is_rope else 2 * blocks * BLOCK_LEN // CONFIG.entry_bytes
    assert cycles == len(entries) + used
