"""Bench for `hw.token_choice`."""

import cocotb
import numpy as np
from cocotb.triggers import ReadOnly, RisingEdge

from hw.jobs import draw_layout
from hw.spec.config import ArchConfig
from hw.spec.formats import BLOCK_LEN
from hw.spec.requests import CANDIDATE_BYTES, NO_CANDIDATE, decode_candidates
from hw.token_choice import TokenChoice
from sim.golden.sampler import sample, temperature_scale, top_candidates
from tests.hw.logit_stream import KINDS, logit_row, strips
from tests.hw.read_port import serves
from tests.hw.vector_stream import seeded
from tests.support.bench import STALLS, collects, obeys_rules, params, sends, start, watchdog

CONFIG = ArchConfig(**params()["config"])
LIST_LEN, PORT = CONFIG.list_len, CONFIG.port_bytes
DUT = TokenChoice(CONFIG)
LOGITS, COMMAND, BEAT = (
    getattr(DUT, name).payload.shape() for name in ("i_logits", "o_write", "o_wdata")
)
BEATS = max(1, CANDIDATE_BYTES // PORT)
TOP = 1 << 32


def draw(rng, index, **fields):
    """Return how a token is drawn; rows may report side by side."""
    multiplier, shift = temperature_scale(rng.choice((0.3, 1, 1.7, 2.0 ** rng.uniform(-7, 7))))
    room = CANDIDATE_BYTES * LIST_LEN
    somewhere = CANDIDATE_BYTES * rng.randrange((TOP - room) // CANDIDATE_BYTES)
    sampling = {
        "top_k": rng.choice((1, LIST_LEN, rng.randrange(1, LIST_LEN + 1))),
        "report_count": rng.choice((0, 1, LIST_LEN, rng.randrange(LIST_LEN + 1))),
        "multiplier": multiplier,
        "shift": shift,
        "seed": rng.getrandbits(32),
        "candidates_addr": rng.choice((TOP - (CONFIG.max_seqs - index) * room, somewhere)),
    }
    position = rng.choice((1, CONFIG.max_context, rng.randrange(CONFIG.max_context)))
    return {"sampling": sampling | fields, "position": position}


def token_of(task, logits):
    if not logits:
        return 0
    names = ("top_k", "multiplier", "shift", "seed")
    rest = {name: task["sampling"][name] for name in names}
    return sample(np.array(logits), position=task["position"], **rest)


def written_by(task, logits, indices_of=None):
    """Return what memory holds of a row's candidates afterwards: a byte for each address.

    ``indices_of``: indices of the logits, by default from 0.
    """
    count, addr = (task["sampling"][name] for name in ("report_count", "candidates_addr"))
    values, indices = top_candidates(np.array(logits, dtype=np.int64), count)
    indices = indices if indices_of is None else indices_of[indices]
    words = np.full((count, 2), (NO_CANDIDATE, 0), np.int64)
    words[: len(values)] = np.stack((indices, values), axis=1)
    raw = words.astype("<u4").tobytes()
    pairs = zip(indices.tolist(), values.tolist(), strict=True)
    assert decode_candidates(raw) == list(pairs)
    return {addr + n: byte for n, byte in enumerate(raw)}


async def writes(dut, memory, stall):
    """Take what is written into a dict of bytes, for ever."""
    idle = STALLS[stall]()
    while True:
        (command,) = await collects(dut, "o_write", COMMAND, 1, stall=lambda: idle)
        assert command["beats"] == BEATS
        assert command["addr"] % PORT == 0
        beats = await collects(dut, "o_wdata", BEAT, BEATS, stall=lambda: idle)
        for at, beat in enumerate(beats):
            for lane, value in enumerate(beat["data"]):
                if beat["strobe"] >> lane & 1:
                    addr = command["addr"] + at * PORT + lane
                    assert addr not in memory, f"{addr:#x} is written twice"
                    memory[addr] = value


async def chooses(dut, emits):
    """Start, and return the cycles from there to the last that is busy."""
    dut.emits.value = emits
    dut.start.value = 1
    cycles = 0
    while True:
        await ReadOnly()
        busy = int(dut.busy.value)
        await RisingEdge(dut.clk)
        dut.start.value = 0
        if not busy:
            dut.emits.value = 0
            return cycles
        cycles += 1


async def expects_tokens(dut, tokens):
    # Twice: what is chosen stays, whatever is looked up.
    for index, token in 2 * list(enumerate(tokens)):
        dut.choice_index.value = index
        await RisingEdge(dut.clk)
        await ReadOnly()
        assert int(dut.choice.value) == token, f"row {index}"
        await RisingEdge(dut.clk)


async def collected(dut):
    """Wait until all logits are in their lists."""
    while True:
        await ReadOnly()
        collecting = int(dut.collecting.value)
        await RisingEdge(dut.clk)
        if not collecting:
            return


@cocotb.test()
@cocotb.parametrize(i_stall=list(STALLS), o_stall=list(STALLS), valid=["all", "some", "few"])
async def passes_equal_golden(dut, i_stall, o_stall, valid):
    rng = seeded()
    await start(dut)
    cocotb.start_soon(watchdog(dut, 60000))
    for name in ("o_write", "o_wdata"):
        cocotb.start_soon(obeys_rules(dut, name))
    memory, draws = {}, {}
    cocotb.start_soon(serves(dut, draw_layout(CONFIG), "draw", draws, addr="draw_index"))
    cocotb.start_soon(writes(dut, memory, o_stall))
    for emits in (CONFIG.max_seqs, 1, rng.randrange(1, CONFIG.max_seqs + 1)):
        vocab = BLOCK_LEN * rng.randrange(1, 4)
        count = {"all": vocab, "few": 3}.get(valid, rng.randrange(1, vocab))
        rows = [logit_row(rng, rng.randrange(KINDS), vocab) for _ in range(emits)]
        memory.clear()
        draws.clear()
        draws |= {index: draw(rng, index) for index in range(emits)}
        await sends(dut, "i_logits", LOGITS, strips(LOGITS, rows, count), stall=STALLS[i_stall])
        await chooses(dut, emits)
        expected = {}
        for index, row in enumerate(rows):
            expected |= written_by(draws[index], row[:count])
        assert memory == expected
        tokens = [token_of(draws[index], row[:count]) for index, row in enumerate(rows)]
        await expects_tokens(dut, tokens)


@cocotb.test()
async def tokens_and_candidates_have_any_index(dut):
    rng = seeded()
    await start(dut)
    cocotb.start_soon(watchdog(dut, 20000))
    memory, draws = {}, {}
    cocotb.start_soon(serves(dut, draw_layout(CONFIG), "draw", draws, addr="draw_index"))
    cocotb.start_soon(writes(dut, memory, "never"))
    lanes, vocab = CONFIG.lanes, DUT.sampler.max_vocab
    for _ in range(4):
        # Few beats of a large vocabulary, the same for each row.
        starts = sorted(rng.sample(range(0, vocab, lanes), 5))
        indices = np.array([at + lane for at in starts for lane in range(lanes)])
        rows = [logit_row(rng, 0, len(indices)) for _ in range(CONFIG.max_seqs)]
        beats = [
            {
                "data": row[place * lanes :][:lanes],
                "row": index,
                "index": at,
                "first": place == 0,
                "valid_count": vocab,
            }
            for place, at in enumerate(starts)
            for index, row in enumerate(rows)
        ]
        memory.clear()
        draws |= {index: draw(rng, index, report_count=LIST_LEN) for index in range(len(rows))}
        await sends(dut, "i_logits", LOGITS, beats)
        await chooses(dut, len(rows))
        expected = {}
        for index, row in enumerate(rows):
            expected |= written_by(draws[index], row, indices)
        assert memory == expected
        tokens = [indices[token_of(draws[index], row)] for index, row in enumerate(rows)]
        await expects_tokens(dut, tokens)


@cocotb.test()
async def logits_that_are_on_their_way_are_waited_for(dut):
    rng = seeded()
    await start(dut)
    cocotb.start_soon(watchdog(dut, 20000))
    # Rising: every beat changes a list.
    row = logit_row(rng, 2, 2 * BLOCK_LEN)
    draws = {0: draw(rng, 0, top_k=1, report_count=0)}
    cocotb.start_soon(serves(dut, draw_layout(CONFIG), "draw", draws, addr="draw_index"))
    await sends(dut, "i_logits", LOGITS, strips(LOGITS, [row], len(row)))
    await ReadOnly()
    assert dut.collecting.value
    await RisingEdge(dut.clk)
    await collected(dut)
    assert await chooses(dut, 1)
    await expects_tokens(dut, [token_of(draws[0], row)])


@cocotb.test()
@cocotb.parametrize(emits=[0, 1, CONFIG.max_seqs])
async def timing_is_as_documented(dut, emits):
    rng = seeded()
    await start(dut)
    cocotb.start_soon(watchdog(dut, 20000))
    # Falling, so that all the lists but the last are stored after their first beats.
    rows = [logit_row(rng, 3, BLOCK_LEN) for _ in range(max(emits, 1))]
    draws = {index: draw(rng, index, report_count=0) for index in range(emits)}
    cocotb.start_soon(serves(dut, draw_layout(CONFIG), "draw", draws, addr="draw_index"))
    await sends(dut, "i_logits", LOGITS, strips(LOGITS, rows, BLOCK_LEN))
    await collected(dut)
    cycles = await chooses(dut, emits)
    each = [
        2 + DUT.sampler.job_cycles(draws[index]["sampling"]["top_k"], 0, stores=index == emits - 1)
        for index in range(emits)
    ]
    # The start, and the last look whether anything is yet to be written.
    assert cycles == 1 + sum(each) + (emits > 0)
