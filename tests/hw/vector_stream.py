"""What the benches of units share that turn one stream of vectors into another."""

import random

import cocotb
from amaranth.hdl import Shape
from cocotb.triggers import ReadOnly, RisingEdge

from tests.support.bench import (
    STALLS,
    cycle,
    expects,
    measures,
    obeys_rules,
    pack,
    sends,
    start,
    watchdog,
)


class Unit:
    """Names and shapes of a unit's input and output."""

    def __init__(self, component, i_name, o_name):
        self.i_name, self.o_name = i_name, o_name
        self.i_shape = getattr(component, i_name).payload.shape()
        self.o_shape = getattr(component, o_name).payload.shape()

    async def compares(self, dut, payloads, results, *, i_stall="never", o_stall="never", cycles=0):
        await start(dut)
        cocotb.start_soon(watchdog(dut, cycles or 60 * len(payloads) + 200))
        cocotb.start_soon(obeys_rules(dut, self.o_name))
        sender = cocotb.start_soon(
            sends(dut, self.i_name, self.i_shape, payloads, stall=STALLS[i_stall])
        )
        await expects(dut, self.o_name, self.o_shape, results, stall=STALLS[o_stall])
        await sender

    async def fills(self, dut, payloads, results, *, depth, times=3, starts=True):
        """Check that exactly ``depth`` payloads get in while none gets out, several times.

        In the odd ones of these times they come with gaps. ``starts``: the clock does not run yet.
        """
        if starts:
            await start(dut)
        rng = seeded()
        cocotb.start_soon(obeys_rules(dut, self.o_name))
        i, o = (
            {part: getattr(dut, f"{name}__{part}") for part in ("valid", "ready", "payload")}
            for name in (self.i_name, self.o_name)
        )
        cocotb.start_soon(watchdog(dut, times * (100 * depth + 400)))
        payloads, results = iter(payloads), iter(results)
        for time in range(times):
            taken = 0
            o["ready"].value = 0
            i["valid"].value = 1
            i["payload"].value = pack(self.i_shape, next(payloads))
            for _ in range(6 * depth + 60):
                await ReadOnly()
                moves = int(i["ready"].value) and int(i["valid"].value)
                stuck = int(i["valid"].value) and not moves
                await RisingEdge(dut.clk)
                if moves:
                    taken += 1
                    i["payload"].value = pack(self.i_shape, next(payloads))
                if time % 2 and not stuck:
                    i["valid"].value = rng.random() < 0.4
            assert taken == depth
            # The one that waits may not get in: what leaves makes room for it.
            i["valid"].value = 0
            began = cycle()
            await expects(dut, self.o_name, self.o_shape, [next(results) for _ in range(depth)])
            assert cycle() - began == depth, "what waits must leave one a cycle"
            next(results)

    async def timing(self, dut, payloads, *, count=None):
        """Return the latency, and the cycles that ``count`` results take without stalls."""
        count = count or len(payloads)
        await start(dut)
        cocotb.start_soon(watchdog(dut, 60 * len(payloads) + 10 * count + 200))
        cocotb.start_soon(sends(dut, self.i_name, self.i_shape, payloads))
        getattr(dut, f"{self.o_name}__ready").value = 1
        return await measures(dut, self.i_name, self.o_name, count)


def numbers(rng, width, count, *, near=()):
    """Return random signed numbers: both ends of the range, of every size, or near some values."""
    high = (1 << (width - 1)) - 1
    result = []
    for _ in range(count):
        kind = rng.randrange(5)
        if kind == 0:
            value = rng.choice((-high - 1, -high, high, 0, 1, -1))
        elif kind == 1 and near:
            value = rng.choice(near) + rng.randrange(-2, 3)
        elif kind == 2:
            value = rng.randrange(-high - 1, high + 1)
        else:
            value = rng.randrange(-high - 1, high + 1) >> rng.randrange(width)
        result.append(max(-high - 1, min(high, value)))
    return result


def uneven(rng, width, count):
    """Return a row for a norm: at the ends of the range, all of one size, or small but for one."""
    kind, high = rng.randrange(7), (1 << (width - 1)) - 1
    if kind == 0:
        return [rng.choice((-high - 1, high)) for _ in range(count)]
    if kind == 1:
        size = rng.randrange(3)
        return [rng.randrange(-size, size + 1) for _ in range(count)]
    if kind == 2:
        return numbers(rng, width, count)
    if kind <= 4:
        return numbers(rng, rng.randrange(2, width), count)
    size = rng.randrange(2, width - 1)
    row = [rng.randrange(-2, 2) for _ in range(count)]
    row[rng.randrange(count)] = rng.choice((1, -1)) * ((1 << size) + rng.randrange(1 << size))
    return row


def seeded():
    """Return a random generator whose seed is printed; it follows from the seed of the run."""
    seed = random.getrandbits(16)
    print(f"seed {seed}")
    return random.Random(seed)


def noise(rng, layout):
    """Return random values for all fields of a structure, which a unit has only to pass on."""
    return {
        name: rng.getrandbits(Shape.cast(shape).width) for name, shape in layout.members.items()
    }
