"""Benches for `test_weight_path`."""

import random

import cocotb
from amaranth.hdl import signed
from amaranth.lib import data
from cocotb.triggers import ClockCycles

from hw.memory_controller import REGIONS
from hw.weight_streamer import descriptor_layout
from tests.hw.axi_memory import AxiMemory
from tests.support.bench import STALLS, cycle, expects, pack, params, sends, start, watchdog

SEED = 1
PORT, WORD, DEPTH = (params()[key] for key in ("port_bytes", "word_bytes", "stream_depth"))
ALIGN = max(PORT, WORD)
WORDS = data.ArrayLayout(signed(8), WORD)
SIZE = 1 << 16


async def begin(dut, **options):
    await start(dut)
    regions = {name: {"base": 0, "limit": 0} for name in ("kv", "host")}
    dut.regions.value = pack(REGIONS, {"image": {"base": 0, "limit": SIZE}, **regions})
    cocotb.start_soon(watchdog(dut, 60000))
    return AxiMemory(dut, size=SIZE, **options)


def words_of(memory, descriptors):
    return [
        int.from_bytes(memory.content[addr : addr + WORD], "little")
        for d in descriptors
        for addr in range(d["addr"], d["addr"] + d["words"] * WORD, WORD)
    ]


@cocotb.test()
@cocotb.parametrize(latency=[1, 30, 200], beats=[66, 700])
async def words_stream_at_full_rate_across_descriptors(dut, latency, beats):
    if latency > DEPTH // 2:
        return  # the FIFO must cover the latency
    memory = await begin(dut, latency=latency)
    words = beats * PORT // WORD
    count = 2000 // beats
    step = SIZE // count // ALIGN * ALIGN
    descriptors = [{"addr": i * step, "words": words} for i in range(count)]
    cocotb.start_soon(sends(dut, "i_descriptor", descriptor_layout(), descriptors))
    expected = words_of(memory, descriptors)
    await expects(dut, "o_words", WORDS, expected[:1])
    first = cycle()
    await expects(dut, "o_words", WORDS, expected[1:])
    rate = (len(expected) - 1) / (cycle() - first)
    dut._log.info(f"latency {latency}, descriptors of {beats} beats: {rate:.4f} words/cycle")
    assert rate >= 0.97


@cocotb.test()
@cocotb.parametrize(seed=range(6))
async def halt_in_the_middle_leaves_a_clean_path(dut, seed):
    rng = random.Random(seed)
    memory = await begin(dut, latency=20, stall=STALLS["at_random"], seed=seed)

    def some(count):
        return [
            {"addr": rng.randrange(SIZE // 2 // ALIGN) * ALIGN, "words": rng.randrange(1, 80)}
            for _ in range(count)
        ]

    first = some(20)
    tasks = [
        cocotb.start_soon(sends(dut, "i_descriptor", descriptor_layout(), first)),
        cocotb.start_soon(expects(dut, "o_words", WORDS, words_of(memory, first))),
    ]
    await ClockCycles(dut.clk, rng.randrange(20, 300))
    for task in tasks:
        task.cancel()
    dut.i_descriptor__valid.value = 0
    dut.o_words__ready.value = 0
    dut.halt.value = 1
    await ClockCycles(dut.clk, rng.choice((1, 100)))
    dut.halt.value = 0
    second = some(10)
    cocotb.start_soon(sends(dut, "i_descriptor", descriptor_layout(), second))
    await expects(dut, "o_words", WORDS, words_of(memory, second))
    await ClockCycles(dut.clk, 5)
    assert int(dut.idle.value)
