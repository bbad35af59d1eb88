"""Coroutines that every cocotb bench is made of."""

import json
import os
import random

from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, ReadOnly, RisingEdge
from cocotb.utils import get_sim_time

from tests.support import coverage
from tests.support.payload import pack, unpack

__all__ = [
    "STALLS",
    "at_random",
    "collects",
    "expects",
    "measures",
    "never",
    "obeys_rules",
    "one_in_four",
    "pack",
    "params",
    "sends",
    "start",
    "unpack",
    "watchdog",
]

PERIOD_NS = 10


def params():
    """Return what `run_bench` was given as ``params``."""
    return json.loads(os.environ.get("SERRANO_PARAMS", "{}"))


# How many idle cycles come before each transfer, without end.


def never():
    """Never idle."""
    while True:
        yield 0


def one_in_four():
    """Idle one cycle after every third transfer."""
    while True:
        yield from (0, 0, 1)


def at_random(seed=1):
    """Idle often, mostly shortly, from a fixed seed."""
    rng = random.Random(seed)
    while True:
        yield rng.choice((0, 0, 0, 1, 1, 2, 3, 7))


STALLS = {"never": never, "one_in_four": one_in_four, "at_random": at_random}


def _differences(expected, got, path=""):
    if isinstance(expected, dict) and isinstance(got, dict):
        for key in expected:
            yield from _differences(expected[key], got[key], f"{path}.{key}" if path else key)
    elif isinstance(expected, list) and isinstance(got, list):
        for i, (e, g) in enumerate(zip(expected, got, strict=True)):
            yield from _differences(e, g, f"{path}[{i}]")
    elif expected != got:
        yield f"{path or 'payload'} is {got}, expected {expected}"


class _Stream:
    """The three ports of a stream."""

    def __init__(self, dut, name):
        self.valid = getattr(dut, f"{name}__valid")
        self.ready = getattr(dut, f"{name}__ready")
        # A payload of no bits has no port.
        self.payload = getattr(dut, f"{name}__payload", None)

    def bits(self):
        return int(self.payload.value) if self.payload is not None else 0


def cycle():
    """Return the number of the current clock cycle, counted from the start of the test."""
    return round((get_sim_time("ns") - _origin[0]) / PERIOD_NS)


_origin = [0.0]


async def start(dut, *, reset_cycles=3):
    """Start the clock and reset; return just after the edge that ends the reset.

    All inputs are 0 until something drives them.
    """
    _origin[0] = get_sim_time("ns")
    for name in json.loads(os.environ.get("SERRANO_INPUTS", "[]")):
        if name != "clk":
            getattr(dut, name).value = 0
    Clock(dut.clk, PERIOD_NS, unit="ns", impl="gpi").start()
    dut.rst.value = 1
    for _ in range(reset_cycles):
        await RisingEdge(dut.clk)
    dut.rst.value = 0
    await RisingEdge(dut.clk)


async def sends(dut, name, shape, payloads, *, stall=never):
    """Offer the payloads in order, idling before each as ``stall`` says."""
    stream = _Stream(dut, name)
    note = coverage.stream("sends", shape, stall)
    idle = stall()
    for payload in payloads:
        for _ in range(next(idle)):
            stream.valid.value = 0
            await RisingEdge(dut.clk)
        if stream.payload is not None:
            bits = pack(shape, payload)
            stream.payload.value = bits
            if coverage.ENABLED:
                note(unpack(shape, bits))
        stream.valid.value = 1
        # A transfer is an edge before which both were high.
        while True:
            await ReadOnly()
            ready = int(stream.ready.value)
            await RisingEdge(dut.clk)
            if ready:
                break
    stream.valid.value = 0


async def collects(dut, name, shape, count, *, stall=never):
    """Take ``count`` payloads, idling before each as ``stall`` says, and return them."""
    return [payload async for payload, _ in _takes(dut, name, shape, count, stall)]


async def _takes(dut, name, shape, count, stall):
    stream = _Stream(dut, name)
    note = coverage.stream("takes", shape, stall)
    idle = stall()
    for _ in range(count):
        for _ in range(next(idle)):
            stream.ready.value = 0
            await RisingEdge(dut.clk)
        stream.ready.value = 1
        while True:
            await ReadOnly()
            valid = int(stream.valid.value)
            bits = stream.bits() if valid else 0
            at = cycle()
            await RisingEdge(dut.clk)
            if valid:
                break
        payload = unpack(shape, bits)
        note(payload)
        yield payload, at
    stream.ready.value = 0


async def expects(dut, name, shape, payloads, *, stall=never):
    """Take as many payloads as are given and compare each with the one expected."""
    payloads = list(payloads)
    index = 0
    async for got, at in _takes(dut, name, shape, len(payloads), stall):
        expected = unpack(shape, pack(shape, payloads[index]))
        if got != expected:
            found = "; ".join(list(_differences(expected, got))[:4])
            raise AssertionError(f"{name}, transfer {index}, cycle {at}: {found}")
        index += 1


async def obeys_rules(dut, name):
    """Watch for ever that what is offered stays the same until it is taken."""
    stream = _Stream(dut, name)
    offered = None
    moved = False
    while True:
        await ReadOnly()
        valid = int(stream.valid.value)
        bits = stream.bits() if valid else None
        ready = int(stream.ready.value)
        if valid:
            coverage.handshake(held=not ready, again=moved)
        moved = valid and ready
        if offered is not None:
            assert valid, f"{name}, cycle {cycle()}: valid fell before the transfer"
            assert bits == offered, f"{name}, cycle {cycle()}: payload changed before the transfer"
        offered = bits if valid and not ready else None
        await RisingEdge(dut.clk)


async def watchdog(dut, cycles):
    """Fail the test after so many cycles."""
    await ClockCycles(dut.clk, cycles)
    raise TimeoutError(f"not finished after {cycles} cycles")


async def measures(dut, i_name, o_name, count):
    """Watch ``count`` transfers on a stream and return (latency, cycles).

    ``latency`` is the number of cycles from the first transfer of ``i_name`` to the first of
    ``o_name``; ``cycles`` those from the first to the last transfer of ``o_name``, both
    included, so that it equals ``count`` at one transfer a cycle.
    """
    i, o = _Stream(dut, i_name), _Stream(dut, o_name)
    first_in = first_out = None
    taken = 0
    while True:
        await ReadOnly()
        now = cycle()
        if first_in is None and int(i.valid.value) and int(i.ready.value):
            first_in = now
        if int(o.valid.value) and int(o.ready.value):
            taken += 1
            if first_out is None:
                first_out = now
            if taken == count:
                return first_out - first_in, now - first_out + 1
        await RisingEdge(dut.clk)
