"""Benches for `test_counter_bank`."""

import random

import cocotb
from cocotb.triggers import ReadOnly, RisingEdge

from tests.support.bench import params, start, watchdog

STEPS, WIDTH, CLEARED = (params()[name] for name in ("steps", "width", "cleared"))
NAMES = list(STEPS)
MASK = (1 << WIDTH) - 1


class Counting:
    """Drives random steps in every cycle, and knows the sums after each."""

    def __init__(self, dut, seed, *, most=False):
        self.dut, self.most = dut, most
        self.rng = random.Random(seed)
        self.sums = dict.fromkeys(NAMES, CLEARED & MASK)
        self.clear = self.enable = False
        print(f"seed {seed}")

    async def cycle(self):
        """Let one cycle pass; return whether an answer came in it, and which."""
        dut = self.dut
        dut.clear.value, dut.enable.value = self.clear, self.enable
        for name, step in STEPS.items():
            now = step if self.most else self.rng.randint(0, step)
            getattr(dut, f"step_{name}").value = now
            if self.enable:
                self.sums[name] = (self.sums[name] + now) & MASK
        if self.clear:
            self.sums = dict.fromkeys(NAMES, CLEARED & MASK)
        await ReadOnly()
        answer = int(dut.read_data.value) if int(dut.read_valid.value) else None
        await RisingEdge(dut.clk)
        return answer

    async def cycles(self, count):
        for _ in range(count):
            assert await self.cycle() is None, "an answer that nobody asked for"

    async def read(self, name):
        """Return the sum, and those before the first and after the last cycle of the read."""
        dut = self.dut
        dut.read.value, dut.read_index.value = 1, NAMES.index(name)
        before = self.sums[name]
        for _ in range(max(len(NAMES), 4) + 7):
            answer = await self.cycle()
            dut.read.value = 0
            if answer is not None:
                return answer, before, self.sums[name]
        raise AssertionError(f"{name}: no answer in time")


async def begin(dut, seed, **options):
    await start(dut)
    cocotb.start_soon(watchdog(dut, 200000))
    counting = Counting(dut, seed, **options)
    counting.clear = True
    await counting.cycle()
    counting.clear = False
    return counting


@cocotb.test()
async def sums_are_exact_at_rest(dut):
    counting = await begin(dut, 1)
    for length in (1, 2, 7, 100, 1000):
        counting.enable = True
        await counting.cycles(length)
        counting.enable = False
        for name in NAMES:
            answer, before, _ = await counting.read(name)
            assert answer == before, f"{name}: {answer}, expected {before}"


@cocotb.test()
async def largest_steps_are_not_lost(dut):
    counting = await begin(dut, 2, most=True)
    counting.enable = True
    await counting.cycles(5 * len(NAMES) + 3)
    counting.enable = False
    for name in NAMES:
        answer, before, _ = await counting.read(name)
        assert answer == before, f"{name}: {answer}, expected {before}"


@cocotb.test()
async def sums_read_while_counting_are_of_a_moment_within(dut):
    counting = await begin(dut, 3)
    counting.enable = True
    for _ in range(60):
        await counting.cycles(counting.rng.randrange(5))
        name = counting.rng.choice(NAMES)
        answer, before, after = await counting.read(name)
        assert (answer - before) & MASK <= (after - before) & MASK, f"{name}: {answer}"


@cocotb.test()
async def clear_forgets_everything_before(dut):
    counting = await begin(dut, 4)
    for length in (0, 1, 2, 3, 4, 5, len(NAMES), 50):
        counting.enable = True
        await counting.cycles(37)
        counting.clear = True
        await counting.cycle()
        counting.clear = False
        await counting.cycles(length)
        counting.enable = False
        for name in NAMES:
            answer, before, _ = await counting.read(name)
            assert answer == before, f"{name}, {length} cycles after: {answer}, expected {before}"
