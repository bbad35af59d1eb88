"""Bench for `hw.program_fetch`."""

import random

import cocotb
from cocotb.triggers import ReadOnly, RisingEdge

from hw.program_fetch import ProgramFetch
from hw.spec.isa import HEADER, OPERATORS, WORD_BYTES, encode
from tests.support.bench import (
    STALLS,
    collects,
    cycle,
    obeys_rules,
    pack,
    sends,
    start,
    watchdog,
)

DUT = ProgramFetch()
REQUEST = DUT.o_request.payload.shape()
OPERATOR = DUT.o_operator.payload.shape()
WORDS = WORD_BYTES // 4
OPCODES = [operator.opcode for name, operator in OPERATORS.items() if name != "end"]


def program_of(rng, count):
    """Return words with random bits in every field, the last of which is ``end``.

    Other opcodes than that of ``end``, whether there is an operator or not, do not end it.
    """
    opcodes = [*OPCODES, 0, 255, OPERATORS["end"].opcode | 0x80]
    words = [
        rng.choice(opcodes).to_bytes(1, "little") + rng.randbytes(WORD_BYTES - 1)
        for _ in range(count - 1)
    ]
    return [*words, encode("end", op_id=rng.getrandbits(16))]


async def memory(dut, base, program, requests, stall="never"):
    """Answer requests, and record them."""
    idle = STALLS[stall]()
    while True:
        requests += await collects(dut, "o_request", REQUEST, 1, stall=lambda: idle)
        assert requests[-1]["words"] == WORDS
        word = program[(requests[-1]["addr"] - base) % (1 << 32) // WORD_BYTES]
        parts = [int.from_bytes(word[n : n + 4], "little") for n in range(0, WORD_BYTES, 4)]
        await sends(dut, "i_word", 32, parts, stall=lambda: idle)


async def prepare(dut, base, cycles=20_000):
    await start(dut)
    cocotb.start_soon(watchdog(dut, cycles))
    for name in ("o_request", "o_operator"):
        cocotb.start_soon(obeys_rules(dut, name))
    dut.program_addr.value = base


@cocotb.test()
@cocotb.parametrize(
    i_stall=list(STALLS), o_stall=list(STALLS), base=[0, 0xFFFF_FF00 - 7 * WORD_BYTES]
)
async def words_come_in_order_and_again_after_end(dut, i_stall, o_stall, base):
    rng = random.Random(61)
    program = program_of(rng, 8)
    requests = []
    await prepare(dut, base)
    cocotb.start_soon(memory(dut, base, program, requests, i_stall))
    dut.run.value = 1
    got = await collects(dut, "o_operator", OPERATOR, 20, stall=STALLS[o_stall])
    for number, item in enumerate(got):
        word, addr = program[number % 8], base + number % 8 * WORD_BYTES
        assert pack(OPERATOR, item) == int.from_bytes(word, "little") | addr << 8 * WORD_BYTES
        assert requests[number]["addr"] == addr
    assert got[0]["word"].keys() == {name for name, _ in HEADER} | {"unused"}


@cocotb.test()
async def a_program_may_be_its_end_alone(dut):
    program, requests = [encode("end")], []
    await prepare(dut, 0x40)
    cocotb.start_soon(memory(dut, 0x40, program, requests))
    dut.run.value = 1
    got = await collects(dut, "o_operator", OPERATOR, 3)
    assert [item["addr"] for item in got] == [0x40] * 3


@cocotb.test()
async def nothing_is_asked_for_before_run(dut):
    await prepare(dut, 0x40)
    dut.o_request__ready.value = 1
    for _ in range(10):
        await ReadOnly()
        assert not dut.o_request__valid.value
        await RisingEdge(dut.clk)


@cocotb.test()
async def timing_is_as_documented(dut):
    """Run, request, 16 words, offer, request of the next; each in its own cycle."""
    program, requests = program_of(random.Random(62), 3), []
    await prepare(dut, 0)
    cocotb.start_soon(memory(dut, 0, program, requests))
    dut.o_operator__ready.value = 1
    dut.run.value = 1
    begun, asked, offered = cycle(), [], []
    while len(offered) < 5:
        await ReadOnly()
        if dut.o_request__valid.value:
            asked.append(cycle() - begun)
        if dut.o_operator__valid.value:
            offered.append(cycle() - begun)
        await RisingEdge(dut.clk)
    period = WORDS + 2
    assert asked == [1 + period * number for number in range(5)]
    assert offered == [period + period * number for number in range(5)]
