"""The check of units that take one payload, offer its result, and only then take the next."""

import cocotb
from cocotb.triggers import ReadOnly, RisingEdge

from tests.hw.vector_stream import seeded
from tests.support.bench import pack, start, unpack, watchdog

__all__ = ["OneAtATime"]


class OneAtATime:
    """Drives a unit cycle by cycle and checks what it promises in each.

    While ``valid`` is low the input is noise, so that a unit that looks at it then is seen.

    Parameters
    ----------
    dut : SimHandle
        Top module.
    unit : vector_stream.Unit
        Its streams.
    latency : int
        Cycles from a transfer to the offer of its result.
    """

    def __init__(self, dut, unit, latency):
        self.dut, self.unit, self.latency = dut, unit, latency
        self.i, self.o = (
            {part: getattr(dut, f"{name}__{part}") for part in ("valid", "ready", "payload")}
            for name in (unit.i_name, unit.o_name)
        )

    async def run(self, payloads, results):
        """Check each result while it waits, up to twice the latency; a reset drops some."""
        dut, rng = self.dut, seeded()
        self.rng = rng
        await start(dut)
        cocotb.start_soon(watchdog(dut, len(payloads) * (3 * self.latency + 10)))
        for payload, result in zip(payloads, results, strict=True):
            await self._passes(rng.randrange(4), busy=False)
            await self._offers(payload)
            wait = rng.randrange(2 * self.latency)
            if rng.randrange(3):
                await self._passes(self.latency - 1, busy=True)
                await self._passes(wait, busy=True, offer=result)
                await self._takes(result)
            else:
                passed = min(wait, self.latency - 1)
                await self._passes(passed, busy=True)
                await self._passes(wait - passed, busy=True, offer=result)
                await self._is_reset()
        await self._passes(2 * self.latency, busy=False)

    async def _passes(self, cycles, *, busy, offer=None):
        for _ in range(cycles):
            self._disturb()
            self.o["ready"].value = 0 if offer else self.rng.randrange(2)
            await self._is(busy=busy, offer=offer)

    def _disturb(self):
        self.i["valid"].value = 0
        self.i["payload"].value = self.rng.getrandbits(len(self.i["payload"]))

    async def _is(self, *, busy, offer=None):
        """Check what is on the streams in this cycle."""
        shape = self.unit.o_shape
        await ReadOnly()
        assert int(self.i["ready"].value) == (not busy)
        assert int(self.o["valid"].value) == (offer is not None)
        if offer is not None:
            got = unpack(shape, self.o["payload"].value)
            assert got == unpack(shape, pack(shape, offer)), f"{got}, expected {offer}"
        await RisingEdge(self.dut.clk)

    async def _offers(self, payload):
        self.i["valid"].value = 1
        self.i["payload"].value = pack(self.unit.i_shape, payload)
        await self._is(busy=False)

    async def _takes(self, result):
        self._disturb()
        self.o["ready"].value = 1
        await self._is(busy=True, offer=result)

    async def _is_reset(self):
        self._disturb()
        self.dut.rst.value = 1
        await RisingEdge(self.dut.clk)
        self.dut.rst.value = 0
