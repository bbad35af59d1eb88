"""Bench for `hw.sampler`."""

from math import log

import cocotb
import numpy as np
from cocotb.triggers import ReadOnly, RisingEdge

from hw.sampler import Sampler
from hw.spec.formats import BLOCK_LEN, SCORE_FRACTION
from sim.golden.sampler import sample, temperature_scale, top_candidates
from tests.hw.logit_stream import KINDS, LOW, logit_row, strips
from tests.hw.vector_stream import seeded
from tests.sim.slow_sampler import edge_seed
from tests.support.bench import (
    STALLS,
    expects,
    measures,
    obeys_rules,
    params,
    sends,
    start,
    watchdog,
)

SIZES = {name: params()[name] for name in ("lanes", "max_rows", "list_len", "max_vocab")}
LANES, MAX_ROWS, LIST_LEN, MAX_VOCAB = SIZES.values()
DUT = Sampler(**SIZES)
LOGITS, JOB, TOKEN, CANDIDATE = (
    getattr(DUT, name).payload.shape() for name in ("i_logits", "i_job", "o_token", "o_candidate")
)
DRAW = ("top_k", "multiplier", "shift", "seed", "position")


def job(rng, row, logits, **fields):
    """Return a job of any top_k, report and temperature, half of them where the choice changes."""
    temperature = rng.choice((1 / 128, 0.3, 1, 1.7, 128, 2.0 ** rng.uniform(-7, 7)))
    multiplier, shift = temperature_scale(temperature)
    if rng.randrange(4) == 0:
        multiplier, shift = rng.choice((0, 1, 0xFFFF, rng.getrandbits(16))), rng.randrange(32)
    task = {
        "row": row,
        "top_k": rng.choice((1, 2, LIST_LEN, rng.randrange(1, LIST_LEN + 1))),
        "report_count": rng.choice((0, 0, 1, LIST_LEN, rng.randrange(LIST_LEN + 1))),
        "multiplier": multiplier,
        "shift": shift,
        "seed": rng.getrandbits(32),
        "position": rng.choice((0, 0xFFFFFFFF, rng.getrandbits(32), rng.getrandbits(10))),
    } | fields
    if logits and rng.randrange(2):
        drawn = {name: task[name] for name in DRAW if name != "seed"}
        task["seed"] = edge_seed(rng, logits, **drawn)
    return task


def token_of(task, logits):
    """Return what a job gives for a row of valid logits."""
    drawn = sample(np.array(logits), **{name: task[name] for name in DRAW}) if logits else 0
    return {"row": task["row"], "token": drawn}


def candidates_of(task, logits):
    """Return what a job reports of a row of valid logits."""
    count = task["report_count"]
    values, indices = top_candidates(np.array(logits, dtype=np.int64), count)
    found = [(1, v, i) for v, i in zip(values.tolist(), indices.tolist(), strict=True)]
    found += [(0, 0, 0)] * (count - len(found))
    names = ("found", "value", "index")
    return [
        {"row": task["row"], "rank": rank, "last": int(rank == count - 1)}
        | dict(zip(names, entry, strict=True))
        for rank, entry in enumerate(found)
    ]


async def fills(dut, rows, valid_count, *, stall="never"):
    """Send the logits of a pass."""
    payloads = strips(LOGITS, rows, valid_count)
    await sends(dut, "i_logits", LOGITS, payloads, stall=STALLS[stall])


async def is_busy_with_jobs(dut):
    """Watch for ever that ``busy`` is high from a job to its token."""
    ports = [
        (getattr(dut, f"{name}__valid"), getattr(dut, f"{name}__ready"))
        for name in ("i_job", "o_token")
    ]
    inside = False
    while True:
        await ReadOnly()
        if inside:
            assert int(dut.busy.value)
        valid, ready = ports[inside]
        inside ^= bool(int(valid.value) and int(ready.value))
        await RisingEdge(dut.clk)


def begin(dut, cycles):
    cocotb.start_soon(watchdog(dut, cycles))
    cocotb.start_soon(is_busy_with_jobs(dut))
    for name in ("o_token", "o_candidate"):
        cocotb.start_soon(obeys_rules(dut, name))


@cocotb.test()
@cocotb.parametrize(
    i_stall=list(STALLS), o_stall=list(STALLS), valid=["all", "some", "few", "none"]
)
async def tokens_equal_golden(dut, i_stall, o_stall, valid):
    rng = seeded()
    await start(dut)
    begin(dut, 60000)
    for vocab, row_count in ((BLOCK_LEN, MAX_ROWS), (4 * BLOCK_LEN, 1), (2 * BLOCK_LEN, 2)):
        count = {"all": vocab, "few": 3, "none": 0}.get(valid)
        count = rng.randrange(1, vocab) if count is None else count
        rows = [logit_row(rng, rng.randrange(KINDS), vocab) for _ in range(row_count)]
        order = rng.sample(range(row_count), row_count) + [0] * 3
        tasks = [job(rng, row, rows[row][:count]) for row in order]
        tokens = [token_of(task, rows[task["row"]][:count]) for task in tasks]
        reports = [c for task in tasks for c in candidates_of(task, rows[task["row"]][:count])]
        await fills(dut, rows, count, stall=i_stall)
        parts = [
            cocotb.start_soon(sends(dut, "i_job", JOB, tasks, stall=STALLS[i_stall])),
            cocotb.start_soon(
                expects(dut, "o_candidate", CANDIDATE, reports, stall=STALLS[o_stall])
            ),
        ]
        await expects(dut, "o_token", TOKEN, tokens, stall=STALLS[o_stall])
        for part in parts:
            await part
        await ReadOnly()
        assert not int(dut.busy.value)
        await RisingEdge(dut.clk)


@cocotb.test()
@cocotb.parametrize(temperature=[1 / 128, 0.5, 1, 3, 128], octaves=[4, 16])
async def draws_of_a_row_equal_golden(dut, temperature, octaves):
    rng = seeded()
    await start(dut)
    begin(dut, 60000)
    multiplier, shift = temperature_scale(temperature)
    # The candidates lie evenly in so many octaves below the largest.
    step = temperature * 65536 * log(2) * octaves / LIST_LEN
    row = [round(-step * (place + rng.random())) for place in range(4 * BLOCK_LEN)]
    rng.shuffle(row)
    scale = {"multiplier": multiplier, "shift": shift}
    tasks = [
        job(rng, 0, row, top_k=top_k, report_count=0, position=position, **scale)
        for position, top_k in enumerate([LIST_LEN, LIST_LEN - 1, 2, 5] * 50)
    ]
    tokens = [token_of(task, row) for task in tasks]
    assert len({token["token"] for token in tokens}) > LIST_LEN // 2
    await fills(dut, [row], len(row))
    sender = cocotb.start_soon(sends(dut, "i_job", JOB, tasks))
    await expects(dut, "o_token", TOKEN, tokens)
    await sender


@cocotb.test()
@cocotb.parametrize(shift=[0, 1, 4, 16, 31])
async def no_bit_of_a_depth_is_lost(dut, shift):
    rng = seeded()
    await start(dut)
    begin(dut, 60000)
    best = ~LOW
    for multiplier in (1, 1, 3, 1 << 15, rng.getrandbits(16) | 1):
        # By score: near the largest, where each bit changes a probability, or so far below that
        # it has none, but would have one without its highest bit.
        rows = []
        for _ in range(min(MAX_ROWS, 4)):
            near = [rng.randrange(15 << SCORE_FRACTION) for _ in range(LIST_LEN - 1)]
            scores = [rng.choice((n, n + (1 << rng.randrange(12, 47)))) for n in near]
            depths = [0] + [min((n << shift) // multiplier, best - LOW) for n in scores]
            rng.shuffle(depths)
            rows.append([best - n for n in depths] + logit_row(rng, 0, BLOCK_LEN - LIST_LEN))
        await fills(dut, rows, LIST_LEN)
        scale = {"top_k": LIST_LEN, "report_count": 0, "multiplier": multiplier, "shift": shift}
        order = list(range(len(rows))) * 6
        tasks = [job(rng, row, rows[row][:LIST_LEN], **scale) for row in order]
        tokens = [token_of(task, rows[task["row"]][:LIST_LEN]) for task in tasks]
        sender = cocotb.start_soon(sends(dut, "i_job", JOB, tasks))
        await expects(dut, "o_token", TOKEN, tokens)
        await sender


@cocotb.test()
async def a_token_depends_on_its_row_alone(dut):
    rng = seeded()
    await start(dut)
    begin(dut, 60000)
    vocab = 4 * BLOCK_LEN
    row = [round(rng.gauss(0, 1) * 65536) for _ in range(vocab)]
    task = job(rng, 0, row, top_k=LIST_LEN, report_count=0, multiplier=47274, shift=23)
    for row_count in (1, 2, MAX_ROWS):
        place = rng.randrange(row_count)
        rows = [logit_row(rng, rng.randrange(KINDS), vocab) for _ in range(row_count)]
        rows[place] = row
        await fills(dut, rows, vocab)
        tasks = [job(rng, n, logits, report_count=0) for n, logits in enumerate(rows)]
        tasks[place] = task | {"row": place}
        tokens = [token_of(each, rows[each["row"]]) for each in tasks]
        assert tokens[place]["token"] == token_of(task, row)["token"]
        sender = cocotb.start_soon(sends(dut, "i_job", JOB, tasks))
        await expects(dut, "o_token", TOKEN, tokens)
        await sender


@cocotb.test()
@cocotb.parametrize(
    counts=[(1, 0), (1, 5), (1, LIST_LEN), (2, 0), (LIST_LEN, 0), (2, LIST_LEN), (LIST_LEN, 3)],
    row=[0, 1],
)
async def a_job_takes_as_long_as_documented(dut, counts, row):
    rng = seeded()
    await start(dut)
    begin(dut, 20000)
    # Rising, so that the last beat of row 1 changes its list.
    rows = [logit_row(rng, 2, 4 * BLOCK_LEN) for _ in range(2)]
    await fills(dut, rows, 4 * BLOCK_LEN)
    while True:
        await ReadOnly()
        busy = int(dut.busy.value)
        await RisingEdge(dut.clk)
        if not busy:
            break
    dut.o_candidate__ready.value = 1
    dut.o_token__ready.value = 1
    top_k, report_count = counts
    task = job(rng, row, rows[row], top_k=top_k, report_count=report_count)
    sender = cocotb.start_soon(sends(dut, "i_job", JOB, [task] * 3))
    latency, cycles = await measures(dut, "i_job", "o_token", 3)
    each = DUT.job_cycles(top_k, report_count, stores=row == 1)
    assert (latency, cycles) == (each, 2 * (each + 1) + 1)
    await sender
