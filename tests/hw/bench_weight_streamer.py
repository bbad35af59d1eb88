"""Benches for `test_weight_streamer`."""

import random
from collections import deque

import cocotb
from amaranth.hdl import signed, unsigned
from amaranth.lib import data
from cocotb.triggers import ClockCycles, ReadOnly, RisingEdge, Timer, with_timeout

from hw.burst_cutter import command_layout
from hw.memory_controller import STREAM_BEATS_WIDTH
from hw.weight_streamer import WeightStreamer, descriptor_layout
from tests.support.bench import (
    PERIOD_NS,
    STALLS,
    collects,
    cycle,
    expects,
    never,
    obeys_rules,
    pack,
    params,
    sends,
    start,
    unpack,
    watchdog,
)

SEED = 1
PORT, WORD = params()["port_bytes"], params()["word_bytes"]
ALIGN = max(PORT, WORD)
BEAT = data.ArrayLayout(unsigned(8), PORT)
WORDS = data.ArrayLayout(signed(8), WORD)
COMMAND = command_layout(STREAM_BEATS_WIDTH)
DESCRIPTOR = descriptor_layout()
CONTENT = random.Random(SEED).randbytes(1 << 16)


def words_at(descriptor):
    addr = descriptor["addr"]
    for i in range(descriptor["words"]):
        word = CONTENT[addr + i * WORD : addr + (i + 1) * WORD]
        yield [byte - 256 if byte > 127 else byte for byte in word]


def descriptors_of(rng, count, most):
    return [
        {"addr": rng.randrange(1 << 10) * ALIGN, "words": rng.randrange(most + 1)}
        for _ in range(count)
    ]


class Controller:
    """What the memory controller does, of any latency: beats in the order of the commands."""

    def __init__(self, dut, *, latency, stall=never):
        self.dut = dut
        self.commands = []
        self.due = deque()
        self.latency = latency
        self.idle = stall()
        self.tasks = [cocotb.start_soon(self.takes()), cocotb.start_soon(self.gives())]

    async def takes(self):
        while True:
            (command,) = await collects(self.dut, "o_command", COMMAND, 1)
            self.commands.append(command)
            self.due.append((cycle() + self.latency, command["addr"], command["beats"]))

    async def gives(self):
        dut = self.dut
        while True:
            while not self.due or self.due[0][0] > cycle():
                dut.i_beats__valid.value = 0
                await RisingEdge(dut.clk)
            _, addr, beats = self.due.popleft()
            for i in range(beats):
                for _ in range(next(self.idle)):
                    dut.i_beats__valid.value = 0
                    await RisingEdge(dut.clk)
                beat = CONTENT[addr + i * PORT : addr + (i + 1) * PORT]
                dut.i_beats__payload.value = pack(BEAT, int.from_bytes(beat, "little"))
                dut.i_beats__valid.value = 1
                ready = False
                while not ready:
                    await ReadOnly()
                    ready = int(dut.i_beats__ready.value)
                    await RisingEdge(dut.clk)

    def stop(self):
        for task in self.tasks:
            task.cancel()
        self.dut.i_beats__valid.value = 0
        self.dut.o_command__ready.value = 0


async def idle_tells(dut):
    """Watch for ever that ``idle`` is low while words are owed, and high when all are taken."""
    i, o = (
        [getattr(dut, f"{name}__{part}") for part in ("valid", "ready", "payload")]
        for name in ("i_descriptor", "o_words")
    )
    owed, waits = 0, False  # waits: for what descriptors of no words leave behind to be gone
    while True:
        await ReadOnly()
        idle = int(dut.idle.value)
        waits &= not idle
        assert waits or idle == (owed == 0), f"idle is {idle}, {owed} words are owed"
        if int(i[0].value) and int(i[1].value):
            words = unpack(DESCRIPTOR, i[2].value)["words"]
            owed += words
            waits |= not words
        owed -= int(o[0].value) and int(o[1].value)
        if int(dut.halt.value):
            owed, waits = 0, False
        await RisingEdge(dut.clk)


async def is_idle_after(dut, cycles=4):
    await ClockCycles(dut.clk, cycles)
    await ReadOnly()
    assert int(dut.idle.value)
    assert not int(dut.o_words__valid.value)
    await RisingEdge(dut.clk)


@cocotb.test()
@cocotb.parametrize(beats=[1, 3, 66])
async def wider_side_never_idles_across_descriptors(dut, beats):
    await start(dut)
    cocotb.start_soon(watchdog(dut, 20000))
    count = 600 // beats
    words = max(1, beats * PORT // WORD)
    descriptors = [{"addr": i * 4 * ALIGN, "words": words} for i in range(count)]
    Controller(dut, latency=0)
    cocotb.start_soon(sends(dut, "i_descriptor", DESCRIPTOR, descriptors))
    expected = [word for descriptor in descriptors for word in words_at(descriptor)]
    await expects(dut, "o_words", WORDS, expected[:1])
    first = cycle()
    await expects(dut, "o_words", WORDS, expected[1:])
    # The model of the controller begins a command a cycle after the one before.
    spare = count if beats > 1 else 2 * count
    assert cycle() - first <= (len(expected) - 1) * max(1, WORD // PORT) + spare * (beats < 66) + 12


def commands_of(descriptor):
    """Return the commands of a descriptor: whole beats, as many at a time as a command can name."""
    most = 1 << (STREAM_BEATS_WIDTH - 1)
    beats = -(-descriptor["words"] * WORD // PORT)
    return [
        {"addr": (descriptor["addr"] + at * PORT) % (1 << 32), "beats": min(most, beats - at)}
        for at in range(0, beats, most)
    ]


def long_descriptors(rng):
    """Return descriptors of all sizes at any address, among them ends of commands met exactly."""
    most = (1 << (STREAM_BEATS_WIDTH - 1)) * PORT // WORD
    words = [1, 2, 3, 5, PORT]
    words += [most * k + more for k in (1, 2) for more in (-1, 0, 1)]
    words += [rng.getrandbits(rng.randrange(20, 31)) for _ in range(4)]
    words += [(1 << 32) // WORD]
    rng.shuffle(words)
    return [{"addr": rng.randrange((1 << 32) // ALIGN) * ALIGN, "words": n} for n in words]


@cocotb.test()
@cocotb.parametrize(o_stall=list(STALLS))
async def addresses_and_lengths_are_those_of_whole_beats(dut, o_stall):
    """No words come, so descriptors are as many as may have theirs on their way."""
    await start(dut)
    cocotb.start_soon(watchdog(dut, 20000))
    cocotb.start_soon(obeys_rules(dut, "o_command"))
    descriptors = long_descriptors(random.Random(f"{SEED} {o_stall}"))
    assert len(descriptors) < WeightStreamer.MAX_ASKED
    descriptors.append({"addr": 2 * ALIGN, "words": (1 << 32) - 1})
    cocotb.start_soon(sends(dut, "i_descriptor", DESCRIPTOR, descriptors))
    commands = [command for descriptor in descriptors for command in commands_of(descriptor)]
    await expects(dut, "o_command", COMMAND, commands, stall=STALLS[o_stall])
    await ClockCycles(dut.clk, 3)
    await ReadOnly()
    assert not int(dut.o_command__valid.value)


@cocotb.test()
async def descriptors_wait_without_being_asked_for(dut):
    await start(dut)
    descriptors = [{"addr": 0, "words": 1}] * 100
    taken = [0]

    async def count():
        while True:
            await ReadOnly()
            taken[0] += int(dut.i_descriptor__valid.value) & int(dut.i_descriptor__ready.value)
            await RisingEdge(dut.clk)

    cocotb.start_soon(count())
    cocotb.start_soon(sends(dut, "i_descriptor", DESCRIPTOR, descriptors))
    await ClockCycles(dut.clk, 50)
    # One more is on offer at `o_command`.
    assert taken[0] == WeightStreamer.MAX_DESCRIPTORS + 1


@cocotb.test()
async def first_command_comes_three_cycles_after_its_descriptor(dut):
    await start(dut)
    cocotb.start_soon(idle_tells(dut))
    await sends(dut, "i_descriptor", DESCRIPTOR, [{"addr": 0, "words": 1}])
    for _ in range(2):
        await ReadOnly()
        assert not int(dut.o_command__valid.value)
        await RisingEdge(dut.clk)
    await ReadOnly()
    assert int(dut.o_command__valid.value)


@cocotb.test()
@cocotb.parametrize(seed=range(10))
async def halt_forgets_everything(dut, seed):
    await start(dut)
    cocotb.start_soon(watchdog(dut, 20000))
    cocotb.start_soon(idle_tells(dut))
    rng = random.Random(seed)
    controller = Controller(dut, latency=rng.choice((0, 20)))
    sender = cocotb.start_soon(sends(dut, "i_descriptor", DESCRIPTOR, descriptors_of(rng, 30, 9)))
    taker = cocotb.start_soon(collects(dut, "o_words", WORDS, 1000))
    await ClockCycles(dut.clk, rng.randrange(5, 100))
    for task in (sender, taker):
        task.cancel()
    controller.stop()
    dut.i_descriptor__valid.value = 0
    dut.o_words__ready.value = 0
    dut.halt.value = 1
    await RisingEdge(dut.clk)
    dut.halt.value = 0
    await is_idle_after(dut, 1)

    Controller(dut, latency=2)
    descriptors = descriptors_of(rng, 10, 9)
    cocotb.start_soon(sends(dut, "i_descriptor", DESCRIPTOR, descriptors))
    words = [word for descriptor in descriptors for word in words_at(descriptor)]
    await expects(dut, "o_words", WORDS, words)
    await is_idle_after(dut)


@cocotb.test()
@cocotb.parametrize(i_stall=list(STALLS), o_stall=list(STALLS), latency=[0, 40])
async def words_are_those_that_descriptors_name(dut, i_stall, o_stall, latency):
    await start(dut)
    cocotb.start_soon(watchdog(dut, 40000))
    for name in ("o_words", "o_command"):
        cocotb.start_soon(obeys_rules(dut, name))
    if not latency:
        cocotb.start_soon(idle_tells(dut))
    rng = random.Random(SEED)
    descriptors = descriptors_of(rng, 40, 30)
    Controller(dut, latency=latency, stall=STALLS[i_stall])
    cocotb.start_soon(sends(dut, "i_descriptor", DESCRIPTOR, descriptors, stall=STALLS[i_stall]))
    words = [word for descriptor in descriptors for word in words_at(descriptor)]
    await expects(dut, "o_words", WORDS, words, stall=STALLS[o_stall])
    await is_idle_after(dut)


@cocotb.test()
async def long_jobs_end_after_their_last_word(dut):
    """All beats are alike: as nothing stalls, the cycles say how many words there were.

    No Python runs while words do, so that there can be many.
    """
    await start(dut)
    rng = random.Random(SEED)
    dut.o_command__ready.value = 1
    dut.o_words__ready.value = 1
    for least, more in ((1 << 9, 9), (1 << 14, 12), (3 << 16, 12)):
        words = least + rng.getrandbits(more)
        beats = -(-words * WORD // PORT)
        await sends(dut, "i_descriptor", DESCRIPTOR, [{"addr": 0, "words": words}])
        await ClockCycles(dut.clk, 4)
        began = cycle()
        ends = cocotb.start_soon(at_rise(dut.idle))
        dut.i_beats__valid.value = 1
        # To the middle of the cycle in which the last beat is taken.
        cycles = (beats - 1) * max(1, PORT // WORD)
        await Timer(cycles * PERIOD_NS + PERIOD_NS // 2, "ns")
        await RisingEdge(dut.clk)
        dut.i_beats__valid.value = 0
        ended = await with_timeout(ends, 100 * PERIOD_NS, "ns")
        # A word is on offer two cycles after its last beat.
        first = began + max(1, WORD // PORT) - 1 + 2
        assert ended == first + (words - 1) * max(1, WORD // PORT) + 1


async def at_rise(signal):
    """Return the cycle in which a signal rises."""
    await RisingEdge(signal)
    return cycle()
