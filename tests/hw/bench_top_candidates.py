"""Bench for `hw.top_candidates`."""

import cocotb
import numpy as np
from cocotb.triggers import ClockCycles, ReadOnly, RisingEdge

from hw.spec.formats import BLOCK_LEN
from hw.top_candidates import TopCandidates
from sim.golden.sampler import top_candidates
from tests.hw.logit_stream import KINDS, LOW, beat, logit_row, strips
from tests.hw.vector_stream import seeded
from tests.support.bench import (
    STALLS,
    cycle,
    expects,
    measures,
    obeys_rules,
    params,
    sends,
    start,
    watchdog,
)

SIZES = {name: params()[name] for name in ("lanes", "max_rows", "list_len", "max_vocab")}
LANES, MAX_ROWS, LIST_LEN, _ = SIZES.values()
VOCAB, HEAD_VOCAB = params()["vocab"], params()["head_vocab"]
DUT = TopCandidates(**SIZES)
LOGITS = DUT.i_logits.payload.shape()
READ = DUT.i_read.payload.shape()
WHOLE_VOCAB = 49152
CANDIDATE = DUT.o_candidate.payload.shape()


def candidates(row, logits, count):
    """Return what a read of a row's first ``count`` entries gives."""
    values, indices = top_candidates(np.array(logits, dtype=np.int64), count)
    found = [
        (1, value, index) for value, index in zip(values.tolist(), indices.tolist(), strict=True)
    ]
    found += [(0, 0, 0)] * (count - len(found))
    names = ("found", "value", "index")
    return [
        {"row": row, "rank": rank, "last": int(rank == count - 1)}
        | dict(zip(names, entry, strict=True))
        for rank, entry in enumerate(found)
    ]


def mixed(rng, rows, valid_count):
    """Return the beats of all rows, those of one row in order, else at random."""
    waiting = {row: list(range(0, len(logits), LANES)) for row, logits in enumerate(rows)}
    payloads = []
    while waiting:
        row = rng.choice(list(waiting))
        for _ in range(rng.randrange(1, 5)):
            if row in waiting:
                payloads.append(beat(LOGITS, rows[row], row, waiting[row].pop(0), valid_count))
                if not waiting[row]:
                    del waiting[row]
    return payloads


@cocotb.test()
@cocotb.parametrize(
    i_stall=list(STALLS), o_stall=list(STALLS), valid=["all", "some", "few", "none"]
)
async def lists_equal_golden(dut, i_stall, o_stall, valid):
    rng = seeded()
    await start(dut)
    cocotb.start_soon(watchdog(dut, 60000))
    cocotb.start_soon(obeys_rules(dut, "o_candidate"))
    for vocab in (BLOCK_LEN, 4 * BLOCK_LEN, VOCAB):
        count = {"all": vocab, "few": 3, "none": 0}.get(valid)
        count = rng.randrange(1, vocab) if count is None else count
        rows = [logit_row(rng, rng.randrange(KINDS), vocab) for _ in range(MAX_ROWS)]
        payloads = mixed(rng, rows, count) if vocab < VOCAB else strips(LOGITS, rows, count)
        reads, expected = [], []
        for row in rng.sample(range(MAX_ROWS), MAX_ROWS) + [0, 0]:
            entries = rng.choice((1, 2, LIST_LEN, rng.randrange(1, LIST_LEN + 1)))
            reads.append({"row": row, "count": entries})
            expected += candidates(row, rows[row][:count], entries)
        # The reads wait until the last beat is done.
        await sends(dut, "i_logits", LOGITS, payloads, stall=STALLS[i_stall])
        reader = cocotb.start_soon(sends(dut, "i_read", READ, reads, stall=STALLS[i_stall]))
        await expects(dut, "o_candidate", CANDIDATE, expected, stall=STALLS[o_stall])
        await reader
        await ReadOnly()
        assert not int(dut.busy.value)
        await RisingEdge(dut.clk)


@cocotb.test()
async def a_beat_that_waited_is_compared_with_its_own_row(dut):
    await start(dut)
    cocotb.start_soon(watchdog(dut, 20000))
    # A full list each, then beats of three rows at once: the second waits for the first.
    rows = [[level] * LIST_LEN + [level + 5] * LANES for level in (0, 1000, 2000)]
    payloads = [
        beat(LOGITS, rows[row], row, index, VOCAB)
        for row in range(3)
        for index in range(0, LIST_LEN, LANES)
    ]
    payloads += [beat(LOGITS, rows[row], row, LIST_LEN, VOCAB) for row in (1, 0, 2)]
    await sends(dut, "i_logits", LOGITS, payloads)
    cocotb.start_soon(
        sends(dut, "i_read", READ, [{"row": row, "count": LIST_LEN} for row in range(3)])
    )
    expected = [c for row in range(3) for c in candidates(row, rows[row], LIST_LEN)]
    await expects(dut, "o_candidate", CANDIDATE, expected)


@cocotb.test()
async def a_read_waits_until_no_beat_is_inside(dut):
    # Rising, so that every logit enters.
    row = logit_row(seeded(), 2, VOCAB)
    await start(dut)
    cocotb.start_soon(watchdog(dut, 20000))
    cocotb.start_soon(sends(dut, "i_logits", LOGITS, list(strips(LOGITS, [row], VOCAB))))
    await ClockCycles(dut.clk, 2)
    cocotb.start_soon(sends(dut, "i_read", READ, [{"row": 0, "count": LIST_LEN}]))
    await expects(dut, "o_candidate", CANDIDATE, candidates(0, row, LIST_LEN))


@cocotb.test()
async def beats_wait_while_a_list_is_read(dut):
    rng = seeded()
    await start(dut)
    cocotb.start_soon(watchdog(dut, 20000))
    old = logit_row(rng, 0, 2 * LIST_LEN)
    new = logit_row(rng, 0, 2 * LIST_LEN)
    await sends(dut, "i_logits", LOGITS, list(strips(LOGITS, [old], 2 * LIST_LEN)))
    await sends(dut, "i_read", READ, [{"row": 0, "count": LIST_LEN}])
    sender = cocotb.start_soon(
        sends(dut, "i_logits", LOGITS, list(strips(LOGITS, [new], 2 * LIST_LEN)))
    )
    await expects(
        dut, "o_candidate", CANDIDATE, candidates(0, old, LIST_LEN), stall=STALLS["at_random"]
    )
    await sender
    await sends(dut, "i_read", READ, [{"row": 0, "count": LIST_LEN}])
    await expects(dut, "o_candidate", CANDIDATE, candidates(0, new, LIST_LEN))


def documented_cycles(rows):
    """Return the cycles in which the strips of some rows are taken, and how many logits enter.

    The last of the three values tells whether the last beat changed its list.
    """
    lists = [[] for _ in rows]
    list_row, cycles, entered = 0, 0, 0
    for at in range(0, len(rows[0]), BLOCK_LEN):
        for row, logits in enumerate(rows):
            for index in range(at, at + BLOCK_LEN, LANES):
                kept = lists[row]
                least = kept[-1] if len(kept) == LIST_LEN else LOW - 1
                hits = [x for x in logits[index : index + LANES] if x > least]
                lists[row] = sorted(kept + hits, reverse=True)[:LIST_LEN]
                entered += len(hits)
                cycles += 1
                if hits:
                    cycles += 2 * len(hits) + DUT.HIT_CYCLES
                    if index == 0 or row != list_row:
                        cycles += DUT.switch_cycles
                    list_row = row
    return cycles, entered, bool(hits)


async def taking(dut, payloads):
    """Return the cycle in which each beat is taken, all being offered at once."""
    sender = cocotb.start_soon(sends(dut, "i_logits", LOGITS, payloads))
    times = []
    while len(times) < len(payloads):
        await ReadOnly()
        if int(dut.i_logits__valid.value) and int(dut.i_logits__ready.value):
            times.append(cycle())
        await RisingEdge(dut.clk)
    await sender
    return times


@cocotb.test()
@cocotb.parametrize(kind=range(KINDS), row_count=[1, 2, MAX_ROWS])
async def beats_take_as_long_as_documented(dut, kind, row_count):
    rng = seeded()
    await start(dut)
    cocotb.start_soon(watchdog(dut, 60000))
    rows = [logit_row(rng, kind, VOCAB) for _ in range(row_count)]
    payloads = list(strips(LOGITS, rows, VOCAB))
    first, *_ = await taking(dut, payloads)
    while True:
        await ReadOnly()
        if not int(dut.busy.value):
            break
        await RisingEdge(dut.clk)
    # A beat is inside for five cycles beside its own, one that changes a list for four.
    cycles, _, changed = documented_cycles(rows)
    assert cycle() - first == cycles + 4 - changed


def head_cycles(strip_cycles, drains):
    """Return the cycles of a head whose strips are computed, and drained, in so many cycles.

    There are two banks of sums: one strip is computed while the one before drains.
    """
    computed, drained, before = 0, 0, 0
    for drain in drains:
        computed = max(computed, before) + strip_cycles
        before, drained = drained, max(computed, drained) + drain
    return drained


@cocotb.test()
@cocotb.parametrize(row_count=[1, MAX_ROWS])
async def head_of_a_model_hardly_waits(dut, row_count):
    rng = seeded()
    await start(dut)
    cocotb.start_soon(watchdog(dut, 10 * HEAD_VOCAB * row_count))
    rows = [logit_row(rng, 5, HEAD_VOCAB) for _ in range(row_count)]
    times = await taking(dut, list(strips(LOGITS, rows, HEAD_VOCAB)))
    beats = row_count * BLOCK_LEN // LANES
    drains = np.diff([*times[::beats], times[-1] + 1]).tolist()
    print(f"{len(times)} beats back to back: {sum(drains)} cycles")
    # 576 channels; an array of 16 x 16, and four of them.
    for tiles in (1, 4):
        strip_cycles = 576 * BLOCK_LEN // 16 // tiles
        least = head_cycles(strip_cycles, [beats] * len(drains))
        cycles = head_cycles(strip_cycles, drains)
        print(f"{row_count} rows of {HEAD_VOCAB} logits, {tiles} tiles: {cycles}, least {least}")
        # Lists change early: the rest of a whole vocabulary adds nothing.
        assert cycles - least < 0.01 * least * WHOLE_VOCAB / HEAD_VOCAB


@cocotb.test()
@cocotb.parametrize(row=[0, 1])
async def entries_come_as_long_after_the_request_as_documented(dut, row):
    rng = seeded()
    await start(dut)
    cocotb.start_soon(watchdog(dut, 20000))
    rows = [logit_row(rng, 0, 2 * LIST_LEN) for _ in range(2)]
    await sends(dut, "i_logits", LOGITS, list(strips(LOGITS, rows, 2 * LIST_LEN)))
    await ClockCycles(dut.clk, 100)
    dut.o_candidate__ready.value = 1
    reads = [{"row": row, "count": LIST_LEN}] * 2
    cocotb.start_soon(sends(dut, "i_read", READ, reads))
    latency, cycles = await measures(dut, "i_read", "o_candidate", LIST_LEN)
    stored = DUT.switch_cycles - 1 if row == 1 else 0
    assert (latency, cycles) == (DUT.READ_LATENCY + stored, LIST_LEN)
