"""Bench for `hw.sequencer`.

Longer than 400 lines: the table of refused words is long, and reads best as one.
"""

import random

import cocotb
from cocotb.triggers import ReadOnly, RisingEdge

from hw.jobs import matmul_job
from hw.program_fetch import located_word
from hw.sequencer import static_descriptor
from hw.spec.config import ArchConfig
from hw.spec.csr import ERRORS
from hw.spec.formats import BLOCK_LEN
from hw.spec.isa import (
    DESTINATIONS,
    MAX_TABLE_WORDS,
    OPERATORS,
    WORD_BYTES,
    decode,
    encode,
    fields_of,
)
from tests.support.bench import (
    STALLS,
    obeys_rules,
    params,
    sends,
    start,
    unpack,
    watchdog,
)

CONFIG = ArchConfig(**params()["config"])
WORD, JOB, DESCRIPTOR = located_word(), matmul_job(CONFIG), static_descriptor(CONFIG)
NAMES = {operator.opcode: name for name, operator in OPERATORS.items()}
STATIC, DYNAMIC = ("norm", "linear", "head_norm"), ("embed", "rope", "attention")
MAX_BLOCKS = CONFIG.max_dim // BLOCK_LEN
HEAD_BLOCKS = CONFIG.max_head_dim // BLOCK_LEN
#: Fields that the sequencer only passes on, beside spare ones; they hold anything.
PASSED_ON = {
    "embed": ("addr", "shift", "valid"),
    "rope": ("addr",),
    "norm": ("addr", "shift", "epsilon"),
    "linear": ("addr", "activation", "glu_shift", "valid", "kv_offset", "head_stride"),
    "attention": ("addr", "words", "shift", "kv_offset", "head_stride", "window"),
    "head_norm": ("addr", "shift_q", "shift_k", "epsilon_q", "epsilon_k"),
    "end": ("addr", "words"),
}
RNG = random.Random(7)

#: Words that can be run, by name; each is at an end of what it may be.
GOOD = {
    "embed": ("embed", {"blocks": MAX_BLOCKS, "words": 1, "shift": 63}),
    "positions": ("embed", {"blocks": MAX_BLOCKS, "words": 1, "valid": 1, "positions": 1}),
    "rope": ("rope", {"blocks": HEAD_BLOCKS, "words": MAX_TABLE_WORDS}),
    "norm": ("norm", {"blocks": MAX_BLOCKS, "dst": CONFIG.act_blocks - MAX_BLOCKS, "words": 1}),
    "final_norm": ("norm", {"blocks": 1, "emit_rows": 1, "emit_only": 1, "words": 1}),
    "head_norm": ("head_norm", {"head_blocks": HEAD_BLOCKS, "words": 1}),
    "residual": (
        "linear",
        {
            "dest": DESTINATIONS["residual"], "blocks": CONFIG.act_blocks, "strips0": MAX_BLOCKS,
            "words": 1,
        },
    ),
    "qkv": (
        "linear",
        {
            "dest": DESTINATIONS["qkv"], "bias": 1, "blocks": 2, "src": CONFIG.act_blocks - 2,
            "dst": CONFIG.act_blocks - 3, "strips0": 3, "strips1": 65535, "strips2": 65535,
            "head_blocks": HEAD_BLOCKS, "shift1_0": 63, "shift2_1": 62, "shift1_2": 61,
            "words": 1, "strip_words": 1,
        },
    ),
    "glu": (
        "linear",
        {
            "dest": DESTINATIONS["glu"], "blocks": 1, "dst": CONFIG.act_blocks - 4, "strips0": 4,
            "strips1": 4, "table_shift": 17, "words": (1 << 32) - 1, "strip_words": 7,
        },
    ),
    "ungated": (
        "linear",
        {
            "dest": DESTINATIONS["glu"], "blocks": 1, "dst": CONFIG.act_blocks - 4, "strips0": 4,
            "words": 1,
        },
    ),
    "logits": (
        "linear",
        {
            "dest": DESTINATIONS["logits"], "blocks": 1, "strips0": 65535, "words": 0x8765_4321,
            "emit_rows": 1, "emit_only": 1, "strip_words": 0x1234_5678,
        },
    ),
    "attention": (
        "attention",
        {
            "head_blocks": 1, "kv_heads": 2, "group": 2, "q_src": CONFIG.act_blocks - 4,
            "dst": CONFIG.act_blocks - 4, "window": (1 << 32) - 1,
        },
    ),
}  # fmt: skip

#: Changes that make a word of `GOOD` one that must be refused.
BAD = {
    "embed": [
        {"blocks": 0},
        {"blocks": MAX_BLOCKS + 1},
        {"blocks": 1023},
        {"words": 0},
        {"words": MAX_TABLE_WORDS + 1},
    ],
    "positions": [{"blocks": 0}, {"words": 0}],
    "rope": [{"blocks": 0}, {"blocks": HEAD_BLOCKS + 1}, {"words": 0}, {"words": 1 << 31}],
    "norm": [
        {"blocks": 0},
        {"blocks": MAX_BLOCKS + 1, "dst": 0},
        {"dst": CONFIG.act_blocks - MAX_BLOCKS + 1},
        {"dst": 1023},
        {"words": 0},
        {"words": MAX_TABLE_WORDS + 1},
    ],
    "residual": [
        {"blocks": 0},
        {"src": 1},
        {"blocks": 4095},
        {"blocks": 1, "src": 1023},
        {"strips0": 0},
        {"strips0": MAX_BLOCKS + 1},
        {"words": 0},
        {"strip_words": 2},
        {"dest": 4},
        {"dest": 15},
    ],
    "qkv": [
        {"head_blocks": 0},
        {"head_blocks": HEAD_BLOCKS + 1},
        {"strips1": 0},
        {"strips2": 0},
        {"dst": CONFIG.act_blocks - 2},
        {"dst": 0, "strips0": CONFIG.act_blocks + 1},
        {"dst": 0, "strips0": 65535},
        {"head_norm": 1},
    ],
    "head_norm": [
        {"head_blocks": 0},
        {"head_blocks": HEAD_BLOCKS + 1},
        {"words": 0},
        {"words": (1 << 32) - 1},
    ],
    "glu": [
        {"dst": CONFIG.act_blocks - 3},
        {"strips1": 3},
        {"strips1": 5},
        {"dst": 1023},
        {"table_shift": 18},
        {"table_shift": 63},
    ],
    "ungated": [{"dst": CONFIG.act_blocks - 3}, {"strips0": 0}, {"strips1": 1}, {"words": 0}],
    "final_norm": [{"emit_only": 0}, {"words": 0}],
    "logits": [{"strips0": 0}, {"blocks": 0}, {"words": 0}, {"emit_only": 0}],
    "attention": [
        {"head_blocks": 0},
        {"head_blocks": HEAD_BLOCKS + 1, "q_src": 0, "dst": 0, "kv_heads": 1, "group": 1},
        {"kv_heads": 0},
        {"kv_heads": 255, "q_src": 0, "dst": 0},
        {"group": 0},
        {"group": CONFIG.max_rows + 1, "q_src": 0, "dst": 0, "kv_heads": 1},
        {"q_src": CONFIG.act_blocks - 3},
        {"dst": CONFIG.act_blocks - 3},
    ],
}


class Program:
    """Encoded operators, each with an op_id of its own, at any address."""

    def __init__(self, *operators):
        self.words = []
        self.addr = RNG.getrandbits(32) & -WORD_BYTES
        first = RNG.getrandbits(16)
        for index, (name, fields) in enumerate([*operators, ("end", {})]):
            noise = {
                field: RNG.getrandbits(width)
                for field, width in fields_of(name)
                if field in PASSED_ON[name] or field.startswith("spare")
            }
            fields = noise | {"op_id": (first + index) % (1 << 16)} | fields
            self.words.append(encode(name, **fields))

    def addr_of(self, index):
        return (self.addr + WORD_BYTES * index) % (1 << 32)

    def payloads(self, passes=1):
        located = [
            {"word": int.from_bytes(word, "little"), "addr": self.addr_of(index)}
            for index, word in enumerate(self.words)
        ]
        bits = [x["word"] | x["addr"] << 8 * WORD_BYTES for x in located]
        return bits * passes

    def decoded(self, *, emits):
        words = [decode(word) for word in self.words]
        return [(name, f) for name, f in words if emits or not f["emit_only"]]


def words_in_channels(name, fields):
    """Return the words of an operator's stream in each channel."""
    if name != "linear":
        return [fields["words"]] + [0] * (CONFIG.tiles - 1)
    strips = fields["strips0"] + fields["strips1"] + fields["strips2"]
    of_group = [len(range(group, strips, CONFIG.groups)) for group in range(CONFIG.groups)]
    return [
        fields["words"] - (of_group[0] - of_group[t // CONFIG.strip_tiles]) * fields["strip_words"]
        for t in range(CONFIG.tiles)
    ]


def expected_job(fields, emits, rows):
    """Return a linear operator's job."""
    sections = {
        f"{part}{index}": fields[f"{part}{index}"]
        for index in range(3)
        for part in ("strips", "shift1_", "shift2_")
    }
    strips = fields["strips0"] + fields["strips1"] + fields["strips2"]
    same = ("dest", "bias", "blocks", "src", "dst", "head_blocks")
    return {
        **{name: fields[name] for name in same},
        **sections,
        "strips": strips & 0xFFFF,
        "heads": 1,
        "head_rows": emits if fields["emit_rows"] else rows,
        "row0": 0,
        "half": 0,
        "value_bank": 0,
        "first_block": 0,
    }


class Units:
    """Everything that the sequencer starts; keeps what happens, in order."""

    def __init__(self, dut, *, job_stall="never", longest=6, seed=1):
        self.dut = dut
        self.rng = random.Random(seed)
        self.longest = longest
        self.events = []  # (kind, fields or descriptor)
        self.jobs = []
        self.busy = self.issuing = self.pending = 0
        self.idle = STALLS[job_stall]()
        self.descriptor_idle = STALLS[job_stall]()
        cocotb.start_soon(self._run())

    async def _run(self):
        dut = self.dut
        wait, hold = next(self.idle), next(self.descriptor_idle)
        while True:
            dut.busy.value = int(self.busy > 0)
            dut.units_issuing.value = int(self.issuing > 0)
            dut.writes_pending.value = int(self.pending > 0)
            dut.o_job__ready.value = int(not wait)
            dut.o_descriptor__ready.value = int(not hold)
            await ReadOnly()
            started = int(dut.start.value)
            word = int(dut.word.value)
            job = int(dut.o_job__valid.value)
            descriptor = int(dut.o_descriptor__valid.value)
            job_bits = int(dut.o_job__payload.value) if job else 0
            descriptor_bits = int(dut.o_descriptor__payload.value) if descriptor else 0
            done = int(dut.pass_done.value)
            was = (self.busy, self.issuing, self.pending)
            await RisingEdge(dut.clk)
            self.busy, self.issuing, self.pending = (max(0, n - 1) for n in was)
            name, fields = (None, None) if not word & 0xFF else decode(word.to_bytes(64, "little"))
            if descriptor and not hold:
                assert not was[1], "a unit has descriptors of its own to give"
                got = unpack(DESCRIPTOR, descriptor_bits)
                self.events.append(("descriptor", got["addr"], got["words"]))
            hold = next(self.descriptor_idle) if descriptor and not hold else max(0, hold - 1)
            if started or (job and not wait):
                assert not was[0], f"{name} starts while a unit is busy"
                assert not was[1], f"{name} starts while a unit has descriptors to give"
                self.events.append((name, fields))
                self.busy = self.rng.randrange(1, self.longest + 1)
            if started:
                assert started == 1 << OPERATORS[name].opcode
                assert name in ("norm", "head_norm", *DYNAMIC)
                assert not (name == "attention" and was[2]), "keys are not in memory yet"
                if name in DYNAMIC:
                    self.issuing = self.rng.randrange(1, self.longest + 1)
            if job and not wait:
                assert name == "linear"
                self.jobs.append(unpack(JOB, job_bits))
                if fields["dest"] == DESTINATIONS["qkv"]:
                    self.pending = self.busy + self.rng.randrange(10)
            wait = next(self.idle) if job and not wait else max(0, wait - 1)
            if done:
                assert not any(was[:2]), "over before the units are"
                self.events.append(("end", fields))


async def begin(dut, **options):
    await start(dut)
    cocotb.start_soon(watchdog(dut, 20_000))
    for name in ("o_descriptor", "o_job"):
        cocotb.start_soon(obeys_rules(dut, name))
    return Units(dut, **options)


async def begin_pass(dut, *, emits, rows):
    dut.emits.value = emits
    dut.rows.value = rows
    dut.pass_start.value = 1
    await RisingEdge(dut.clk)
    dut.pass_start.value = 0


async def until(dut, name):
    while True:
        await ReadOnly()
        value = int(getattr(dut, name).value)
        await RisingEdge(dut.clk)
        if value:
            return


ALL = Program(*(GOOD[name] for name in (
    "rope", "embed", "positions", "norm", "qkv", "attention", "residual", "norm", "glu", "residual",
    "attention", "head_norm", "norm", "ungated", "residual", "norm", "logits",
)))  # fmt: skip


@cocotb.test()
@cocotb.parametrize(stall=list(STALLS), longest=[1, 6, 30])
async def work_and_streams_come_in_program_order(dut, stall, longest):
    units = await begin(dut, job_stall=stall, longest=longest)
    passes = [(CONFIG.max_seqs, CONFIG.max_rows), (0, 3), (1, 1), (2, 3), (1, CONFIG.max_rows)]
    cocotb.start_soon(
        sends(dut, "i_operator", WORD, ALL.payloads(len(passes)), stall=STALLS[stall])
    )
    for emits, rows in passes:
        units.events.clear()
        units.jobs.clear()
        await begin_pass(dut, emits=emits, rows=rows)
        await until(dut, "pass_done")
        await RisingEdge(dut.clk)
        words = ALL.decoded(emits=emits)
        assert [e for e in units.events if e[0] != "descriptor"] == words
        assert [e[1:] for e in units.events if e[0] == "descriptor"] == [
            (fields["addr"], words_in_channels(name, fields))
            for name, fields in words
            if name in STATIC
        ]
        expected = [expected_job(fields, emits, rows) for name, fields in words if name == "linear"]
        assert units.jobs == expected
        # A stream is asked for before its operator starts, and one operator ahead at most.
        for index, (kind, *what) in enumerate(units.events):
            if kind == "descriptor":
                before = [e for e in units.events[:index] if e[0] != "descriptor"]
                number = next(n for n, (_, f) in enumerate(words) if f["addr"] == what[0])
                assert len(before) in (number - 1, number), f"descriptor of operator {number}"


@cocotb.test()
async def stream_of_the_next_operator_is_asked_for_while_one_runs(dut):
    units = await begin(dut, longest=60)
    program = Program(GOOD["norm"], GOOD["residual"], GOOD["norm"])
    cocotb.start_soon(sends(dut, "i_operator", WORD, program.payloads()))
    await begin_pass(dut, emits=1, rows=1)
    await until(dut, "pass_done")
    await RisingEdge(dut.clk)
    kinds = [event[0] for event in units.events]
    assert kinds == [
        "descriptor", "norm", "descriptor", "linear", "descriptor", "norm", "end",
    ]  # fmt: skip


@cocotb.test()
async def stream_waits_for_descriptors_that_a_unit_makes(dut):
    """The descriptor after a dynamic operator comes when that has given all its own."""
    units = await begin(dut, longest=40)
    program = Program(GOOD["attention"], GOOD["residual"], GOOD["rope"], GOOD["norm"])
    cocotb.start_soon(sends(dut, "i_operator", WORD, program.payloads()))
    await begin_pass(dut, emits=1, rows=1)
    await until(dut, "pass_done")
    await RisingEdge(dut.clk)
    kinds = [event[0] for event in units.events]
    assert kinds == ["attention", "descriptor", "linear", "rope", "descriptor", "norm", "end"]


@cocotb.test()
async def words_are_left_alone_between_passes(dut):
    await begin(dut)
    program = Program(GOOD["norm"])
    cocotb.start_soon(sends(dut, "i_operator", WORD, program.payloads(2)))
    for _ in range(20):
        await ReadOnly()
        assert not int(dut.i_operator__ready.value)
        await RisingEdge(dut.clk)
    for _ in range(2):
        await begin_pass(dut, emits=1, rows=1)
        await until(dut, "pass_done")
        for _ in range(20):
            await ReadOnly()
            assert not int(dut.i_operator__ready.value)
            assert not int(dut.running.value)
            await RisingEdge(dut.clk)


async def trap(dut, program, index):
    """Run a program until its trap; return (cause, address), and check that nothing else comes."""
    await start(dut)
    units = Units(dut, longest=3)
    dog = cocotb.start_soon(watchdog(dut, 3000))
    sender = cocotb.start_soon(sends(dut, "i_operator", WORD, program.payloads()))
    await begin_pass(dut, emits=1, rows=1)
    while True:
        await ReadOnly()
        if int(dut.error.value):
            break
        assert not int(dut.pass_done.value), f"operator {index} was not refused"
        await RisingEdge(dut.clk)
    found = int(dut.error_cause.value), int(dut.error_addr.value)
    for _ in range(30):
        await RisingEdge(dut.clk)
    assert [e for e in units.events if e[0] != "descriptor"] == program.decoded(emits=1)[:index]
    sender.cancel()
    dog.cancel()
    return found


@cocotb.test()
@cocotb.parametrize(name=list(BAD))
async def bad_fields_are_refused_with_their_address(dut, name):
    operator, good = GOOD[name]
    for change in BAD[name]:
        program = Program(GOOD["norm"], GOOD["rope"], (operator, good | change), GOOD["norm"])
        found = await trap(dut, program, 2)
        assert found == (ERRORS["bad_field"], program.addr_of(2)), f"{name} {change}"


@cocotb.test()
async def heads_are_normed_by_gains_of_their_length(dut):
    """Of the last head_norm operator that was not left out, in this pass or one before it."""
    operator, good = GOOD["qkv"]
    normed = (operator, good | {"head_norm": 1, "head_blocks": 2})
    units = await begin(dut)
    one, two, left_out = (
        ("head_norm", {"head_blocks": blocks, "words": 1, "emit_only": emit_only})
        for blocks, emit_only in ((1, 0), (2, 0), (1, 1))
    )
    program = Program(one, two, left_out, normed, GOOD["norm"], normed)
    again = Program(normed, one, normed)
    payloads = program.payloads() + again.payloads()
    cocotb.start_soon(sends(dut, "i_operator", WORD, payloads))
    for _ in range(2):
        await begin_pass(dut, emits=0, rows=1)
        await until(dut, "pass_done" if not units.jobs else "error")
        await RisingEdge(dut.clk)
    kinds = [e[0] for e in units.events if e[0] != "descriptor"]
    assert kinds == [
        "head_norm", "head_norm", "linear", "norm", "linear", "end", "linear", "head_norm",
    ]  # fmt: skip
    assert int(dut.error_cause.value) == ERRORS["bad_field"]
    assert int(dut.error_addr.value) == again.addr_of(2)


@cocotb.test()
@cocotb.parametrize(opcode=[0, max(NAMES) + 1, 128, 255])
async def unknown_opcode_is_refused_with_its_address(dut, opcode):
    program = Program(GOOD["norm"], GOOD["residual"])
    program.words[1] = bytes([opcode]) + program.words[1][1:]
    bits = program.payloads()
    program.decoded = lambda *, emits: [decode(program.words[0])]
    program.payloads = lambda: bits
    found = await trap(dut, program, 1)
    assert found == (ERRORS["bad_opcode"], program.addr_of(1))


@cocotb.test()
async def bad_word_is_refused_even_where_it_would_be_left_out(dut):
    operator, good = GOOD["logits"]
    await begin(dut)
    program = Program((operator, good | {"words": 0}))
    cocotb.start_soon(sends(dut, "i_operator", WORD, program.payloads()))
    await begin_pass(dut, emits=0, rows=1)
    await until(dut, "error")
    assert int(dut.error_cause.value) == ERRORS["bad_field"]


@cocotb.test()
@cocotb.parametrize(name=list(GOOD))
async def words_at_the_limits_are_accepted(dut, name):
    units = await begin(dut)
    cocotb.start_soon(sends(dut, "i_operator", WORD, Program(GOOD[name]).payloads()))
    await begin_pass(dut, emits=1, rows=CONFIG.max_rows)
    await until(dut, "pass_done")
    await RisingEdge(dut.clk)
    assert [e[0] for e in units.events if e[0] != "descriptor"] == [GOOD[name][0], "end"]


@cocotb.test()
@cocotb.parametrize(emit_only=[0, 1, 128, 255])
async def any_bit_of_emit_only_leaves_a_word_out(dut, emit_only):
    units = await begin(dut)
    operator, good = GOOD["residual"]
    program = Program(GOOD["norm"], (operator, good | {"emit_only": emit_only}), GOOD["rope"])
    cocotb.start_soon(sends(dut, "i_operator", WORD, program.payloads()))
    await begin_pass(dut, emits=0, rows=1)
    await until(dut, "pass_done")
    await RisingEdge(dut.clk)
    kinds = [e[0] for e in units.events if e[0] != "descriptor"]
    assert kinds == ["norm", *([] if emit_only else ["linear"]), "rope", "end"]


@cocotb.test()
async def end_is_never_left_out(dut):
    units = await begin(dut)
    program = Program(GOOD["norm"])
    program.words[-1] = encode("end", op_id=2, emit_only=1)
    cocotb.start_soon(sends(dut, "i_operator", WORD, program.payloads()))
    await begin_pass(dut, emits=0, rows=1)
    await until(dut, "pass_done")
    await RisingEdge(dut.clk)
    assert [e[0] for e in units.events if e[0] != "descriptor"] == ["norm", "end"]
