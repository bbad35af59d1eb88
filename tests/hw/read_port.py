"""Memories that a bench plays for the synchronous read ports of its design."""

import random

from cocotb.triggers import ReadOnly, RisingEdge

from tests.support.bench import pack

__all__ = ["serves"]


async def serves(dut, shape, data, words, *, addr, enable=None, holds=False):
    """Put a word on the port ``data`` in the cycle after it was asked for, for ever.

    ``words`` maps what the ports ``addr`` (one, or a tuple of them) held, to a payload of the
    shape. Where nothing is asked for, where ``enable`` is low, chance decides what is there, or
    with ``holds`` it stays the same.
    """
    rng = random.Random(0)
    ports = [getattr(dut, name) for name in (addr if isinstance(addr, tuple) else (addr,))]
    enable = enable and getattr(dut, enable)
    data = getattr(dut, data)
    while True:
        await ReadOnly()
        asked = enable is None or int(enable.value)
        key = tuple(int(port.value) for port in ports)
        await RisingEdge(dut.clk)
        if holds and not asked:
            continue
        word = words.get(key if isinstance(addr, tuple) else key[0]) if asked else None
        data.value = rng.getrandbits(len(data)) if word is None else pack(shape, word)
