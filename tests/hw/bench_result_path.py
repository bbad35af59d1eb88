"""Bench for `hw.result_path`."""

import random

import cocotb
import numpy as np
from cocotb.triggers import ReadOnly, RisingEdge

from hw.activation_memory import Block
from hw.jobs import Dest
from hw.operator_word import operator_layout
from hw.result_path import ResultPath
from hw.spec.config import ArchConfig
from hw.spec.formats import (
    BLOCK_LEN,
    HEAD_WIDTH,
    NORM_WIDTH,
    RESIDUAL_WIDTH,
    ROPE_FRACTION,
    ROPE_WIDTH,
)
from hw.spec.tables import ACTIVATIONS
from sim.golden.activation import activate
from sim.golden.block_quantise import block_quantise
from sim.golden.rope import rope
from tests.hw.fused_results import KEY, QUERY, VALUE, cut, head_operator, projection
from tests.hw.vector_stream import numbers, seeded
from tests.hw.with_norm import WithNorm
from tests.support.bench import (
    STALLS,
    expects,
    obeys_rules,
    pack,
    params,
    sends,
    start,
    unpack,
    watchdog,
)

CONFIG = ArchConfig(**params()["config"])
LANES, BEATS = CONFIG.lanes, CONFIG.beats
DUT = WithNorm(ResultPath(CONFIG), CONFIG)
I_ACT, I_NORM = DUT.i_act.payload.shape(), DUT.i_norm.payload.shape()
OUTPUTS = ("o_residual", "o_logits", "o_key_value")
SHAPES = {name: getattr(DUT, name).payload.shape() for name in OUTPUTS}
HEAD_BLOCKS = CONFIG.max_head_dim // BLOCK_LEN
ACTIVATION, TABLE_SHIFT, GLU_SHIFT = "gelu", 8, 7
ONE = 1 << ROPE_FRACTION


def for_blocks(seed=2):
    """Idle as long as some blocks take, from a fixed seed."""
    rng = random.Random(seed)
    while True:
        yield rng.choice((0, 0, rng.randrange(4 * BEATS)))


O_STALLS = STALLS | {"for_blocks": for_blocks}


class Job:
    """What goes in, and what comes out of each output."""

    def __init__(self, name):
        self.name = name
        self.acts, self.norms, self.blocks = [], [], []
        self.outputs = {output: [] for output in OUTPUTS}
        self.norm_dst = 0
        self.gated = 1
        self.head_norm = 0

    def add_act(self, vector, dest, **label):
        """Add 32 results of a row; return their beats."""
        beats = cut(vector, LANES)
        for beat, piece in enumerate(beats):
            meta = {"dest": dest, "beat": beat, **label}
            self.acts.append({"data": piece, "clipped": beat & 1, "meta": meta})
        return beats

    def add_block(self, vector, label):
        """Expect 32 elements as a block in the activation memory."""
        self.blocks.append((label["dst"], label["row"], quantised(vector)))

    def add_head_block(self, vector, label, tables):
        """Expect 32 elements of q, k or v, the first two rotated, where their section goes."""
        section = label["section"]
        if section != VALUE:
            table = tables[label["row"]][label["block"] * BLOCK_LEN :][:BLOCK_LEN]
            table = np.array(table).reshape(1, -1, 2)
            vector = rope(np.array(vector)[None, None], table)[0, 0].tolist()
        if section == QUERY:
            self.add_block(vector, label)
        else:
            self.outputs["o_key_value"].append({
                "block": quantised(vector),
                "is_value": int(section == VALUE),
                "row": label["row"],
                "head": label["head"],
                "index": label["block"],
            })


def quantised(vector):
    values, exponents = block_quantise(np.array(vector))
    return {"q": values.tolist(), "exp": int(exponents[0])}


def labels(rng, strip=0, section=0):
    """Yield a label for each row of a job."""
    rows = rng.randrange(1, CONFIG.max_rows + 1)
    for index in range(rows):
        yield {
            "row": index,
            "index": index,
            "head_row": index,
            "section": section,
            "strip": strip,
            "head": rng.randrange(256),
            "block": rng.randrange(HEAD_BLOCKS),
            "dst": rng.choice((0, 1023, rng.randrange(1024))),
        }


def add_job(rng, tables, kind):
    """Return a job of one destination; ``norm`` comes by the other input."""
    job = Job(kind)
    if kind == "residual":
        for strip in range(CONFIG.max_dim // BLOCK_LEN):
            for label in labels(rng, strip):
                vector = numbers(rng, RESIDUAL_WIDTH, BLOCK_LEN)
                for beat, piece in enumerate(job.add_act(vector, Dest.RESIDUAL, **label)):
                    job.outputs["o_residual"].append({
                        "data": piece,
                        "row": label["row"],
                        "beat": strip * BEATS + beat,
                        "add": 1,
                        "first": int(strip == 0 and beat == 0),
                    })
    elif kind == "logits":
        for strip in (0, 1, 65535):
            for label in labels(rng, strip):
                vector = numbers(rng, RESIDUAL_WIDTH, BLOCK_LEN)
                for beat, piece in enumerate(job.add_act(vector, Dest.LOGITS, **label)):
                    meta = {"dest": Dest.LOGITS, "beat": beat, **label}
                    job.outputs["o_logits"].append({"data": piece, "meta": meta})
    elif kind == "qkv":
        for section in (QUERY, KEY, VALUE, KEY, QUERY):
            for label in labels(rng, section=section):
                vector = numbers(rng, HEAD_WIDTH, BLOCK_LEN)
                job.add_act(vector, Dest.QKV, **label)
                job.add_head_block(vector, label, tables)
    elif kind == "normed":
        job.head_norm = 1
        rows = rng.randrange(1, CONFIG.max_rows + 1)
        payloads, results = projection(rng, CONFIG, *tables["norm"], rows=rows, heads=(2, 1))
        job.acts = [{"clipped": 0, **payload} for payload in payloads]
        for at in range(0, len(results), BEATS):
            block = results[at : at + BEATS]
            vector = [x for beat in block for x in beat["data"]]
            job.add_head_block(vector, block[-1]["meta"], tables)
    elif kind == "glu":
        for strip in range(2):
            ups = list(labels(rng, strip, section=1))
            gates = []
            for label in ups:
                gates.append(numbers(rng, HEAD_WIDTH, BLOCK_LEN))
                # A gate is found again by its index and beat; its product has the label of the up.
                other = next(labels(rng, rng.randrange(1 << 16)))
                noise = {name: other[name] for name in ("strip", "head", "block", "dst")}
                rows = {name: rng.randrange(CONFIG.max_rows) for name in ("row", "head_row")}
                job.add_act(gates[-1], Dest.GLU, **(label | noise | rows | {"section": 0}))
            for gate, label in zip(gates, ups, strict=True):
                up = numbers(rng, HEAD_WIDTH, BLOCK_LEN)
                job.add_act(up, Dest.GLU, **label)
                product = activate(gate, up, ACTIVATION, TABLE_SHIFT, GLU_SHIFT)
                job.add_block(product.tolist(), label)
    elif kind == "ungated":
        job.gated = 0
        for strip in range(2):
            for label in labels(rng, strip):
                gate = numbers(rng, HEAD_WIDTH, BLOCK_LEN)
                job.add_act(gate, Dest.GLU, **label)
                product = activate(gate, None, ACTIVATION, TABLE_SHIFT, GLU_SHIFT)
                job.add_block(product.tolist(), label)
    elif kind == "values":
        for strip in range(2):
            for label in labels(rng, strip):
                vector = numbers(rng, HEAD_WIDTH, BLOCK_LEN)
                job.add_act(vector, Dest.VALUES, **label)
                job.add_block(vector, label)
    else:
        job.norm_dst = rng.choice((0, 1000, rng.randrange(1000)))
        blocks = CONFIG.max_dim // BLOCK_LEN
        for row in range(rng.randrange(1, CONFIG.max_rows + 1)):
            for block in range(blocks):
                vector = numbers(rng, NORM_WIDTH, BLOCK_LEN)
                for beat, piece in enumerate(cut(vector, LANES)):
                    beat += block * BEATS
                    last = int(beat == blocks * BEATS - 1)
                    job.norms.append({"data": piece, "row": row, "beat": beat, "last": last})
                job.add_block(vector, {"dst": job.norm_dst + block, "row": row})
    return job


async def begin(dut, rng):
    """Load the tables, and return them.

    By row: cosines and sines; as ``norm``: fields and gains of the head_norm operator.
    """
    await start(dut)
    cocotb.start_soon(watchdog(dut, 40_000))
    for output in OUTPUTS:
        cocotb.start_soon(obeys_rules(dut, output))
    dut.activation.value = ACTIVATIONS[ACTIVATION]
    dut.table_shift.value = TABLE_SHIFT
    dut.glu_shift.value = GLU_SHIFT
    word, gains = head_operator(rng, HEAD_BLOCKS)
    dut.word.value = pack(operator_layout("head_norm"), word)
    dut.start.value = 1
    await RisingEdge(dut.clk)
    dut.start.value = 0
    await sends(dut, "i_entry", DUT.i_entry.payload.shape(), cut(gains[0] + gains[1], LANES))
    dut.head_blocks.value = HEAD_BLOCKS
    tables = {"norm": (word, gains)}
    for row in range(CONFIG.max_rows):
        tables[row] = numbers(rng, ROPE_WIDTH, CONFIG.max_head_dim, near=(ONE, -ONE))
        for beat in range(CONFIG.max_head_dim // LANES):
            dut.rope_en.value = 1
            dut.rope_row.value = row
            dut.rope_addr.value = beat
            entry = tables[row][beat * LANES : (beat + 1) * LANES]
            dut.rope.value = pack(DUT.rope.shape(), entry)
            await RisingEdge(dut.clk)
    dut.rope_en.value = 0
    return tables


async def gathers(dut, written):
    """Add (block, row, content) of each write of the activation memory."""
    while True:
        await ReadOnly()
        if int(dut.block_en.value):
            block = unpack(Block, int(dut.block.value))
            written.append((int(dut.block_dst.value), int(dut.block_row.value), block))
        await RisingEdge(dut.clk)


async def runs(dut, job, written, *, i_stall="never", o_stall="never"):
    written.clear()
    dut.norm_dst.value = job.norm_dst
    dut.head_norm.value = job.head_norm
    dut.gated.value = job.gated
    i_stall, o_stall = STALLS[i_stall], O_STALLS[o_stall]
    tasks = [
        sends(dut, "i_act", I_ACT, job.acts, stall=i_stall),
        sends(dut, "i_norm", I_NORM, job.norms, stall=i_stall),
        *(
            expects(dut, name, SHAPES[name], payloads, stall=o_stall)
            for name, payloads in job.outputs.items()
        ),
    ]
    for task in [cocotb.start_soon(task) for task in tasks]:
        await task
    while True:
        await ReadOnly()
        busy = int(dut.busy.value)
        await RisingEdge(dut.clk)
        if not busy:
            break
    assert written == job.blocks, job.name
    for name in OUTPUTS:
        assert not int(getattr(dut, f"{name}__valid").value), f"{name} has too much"


KINDS = ("residual", "qkv", "normed", "glu", "ungated", "logits", "values", "norm")


@cocotb.test()
@cocotb.parametrize(i_stall=list(STALLS), o_stall=list(O_STALLS))
async def results_go_where_their_label_says(dut, i_stall, o_stall):
    rng = seeded()
    tables = await begin(dut, rng)
    written = []
    cocotb.start_soon(gathers(dut, written))
    for kind in rng.sample(KINDS * 2, 2 * len(KINDS)):
        job = add_job(rng, tables, kind)
        await runs(dut, job, written, i_stall=i_stall, o_stall=o_stall)


async def counts_inside(dut, found):
    """Add the cycles in which elements are inside to be quantised, and ``busy`` is low."""
    inside = 0
    names = ("i_act", "i_norm", "o_key_value")
    ports = {n: [getattr(dut, f"{n}__{part}") for part in ("valid", "ready")] for n in names}
    while True:
        await ReadOnly()
        if inside and not int(dut.busy.value):
            found.append(inside)
        moved = {name: all(int(port.value) for port in pair) for name, pair in ports.items()}
        meta = unpack(I_ACT, int(dut.i_act__payload.value))["meta"]
        kept = int(dut.gated.value) and meta["dest"] == Dest.GLU.value and meta["section"] == 0
        inside += moved["i_norm"] or (moved["i_act"] and not kept)
        inside -= BEATS * (moved["o_key_value"] or int(dut.block_en.value))
        await RisingEdge(dut.clk)


@cocotb.test()
@cocotb.parametrize(kind=["qkv", "normed", "glu", "ungated", "values", "norm"], stall=list(STALLS))
async def busy_until_the_last_block_is_written(dut, kind, stall):
    """``busy`` is all that keeps the next operator from reading too early."""
    rng = seeded()
    tables = await begin(dut, rng)
    written, found = [], []
    cocotb.start_soon(gathers(dut, written))
    cocotb.start_soon(counts_inside(dut, found))
    for _ in range(3):
        await runs(dut, add_job(rng, tables, kind), written, i_stall=stall)
    assert not found


@cocotb.test()
async def a_beat_is_taken_each_cycle(dut):
    rng = seeded()
    tables = await begin(dut, rng)
    for name in OUTPUTS:
        getattr(dut, f"{name}__ready").value = 1
    for kind in KINDS:
        if kind == "normed":
            continue  # as fast as the norm
        job = add_job(rng, tables, kind)
        dut.gated.value = job.gated
        name, shape, payloads = (
            ("i_norm", I_NORM, job.norms) if job.norms else ("i_act", I_ACT, job.acts)
        )
        sender = cocotb.start_soon(sends(dut, name, shape, payloads))
        cycles = 0
        while not sender.done():
            await RisingEdge(dut.clk)
            cycles += 1
        assert cycles <= len(payloads) + 1, kind
        for _ in range(100):
            await RisingEdge(dut.clk)
