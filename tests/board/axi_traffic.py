"""Random bursts on an AXI4 subordinate, compared with a plain memory."""

import random
from collections import deque
from dataclasses import dataclass, field

import cocotb
from cocotb.triggers import ReadOnly, RisingEdge

from tests.support.bench import cycle, never

__all__ = ["AxiTraffic", "Burst", "keeps_offers", "seeded"]

_OKAY, _SLVERR, _DECERR = 0, 2, 3


@dataclass
class Burst:
    """One burst: for writes ``data`` and ``strobes``, one integer a beat."""

    id: int
    addr: int
    beats: int
    burst: int = 1
    data: list = field(default_factory=list)
    strobes: list = field(default_factory=list)


class AxiTraffic:
    """Issue bursts and check every answer.

    A read waits for the writes of its bytes to be answered, and a write for the reads, so that the
    expected bytes are known; everything else overtakes.

    Parameters
    ----------
    dut : SimHandle
        Top module with a port ``axi``.
    memory : bytearray
        The plain memory.
    stall : callable
        Makes generators of idle cycles, for all channels.
    """

    def __init__(self, dut, memory, *, stall=never):
        self.dut = dut
        self.memory = memory
        self.beat_bytes = len(dut.axi__rdata) // 8
        self.stall = stall
        self.reads, self.writes = deque(), deque()  # (burst, expected or None), not answered
        self.words = deque()  # (data, strobe, last) to send
        for name in ("axi__rready", "axi__bready"):
            getattr(dut, name).value = 0
        self.tasks = [
            cocotb.start_soon(task) for task in (self._sends(), self._takes(), self._answers())
        ]

    def response(self, burst):
        """Return the response that a burst must get."""
        if burst.burst != 1:
            return _SLVERR
        return _OKAY if burst.addr < len(self.memory) else _DECERR

    def _span(self, burst):
        start = burst.addr // self.beat_bytes * self.beat_bytes
        return start, start + burst.beats * self.beat_bytes

    def _overlaps(self, burst, others):
        start, end = self._span(burst)
        spans = (self._span(other) for other in others)
        return any(start < other_end and other_start < end for other_start, other_end in spans)

    async def _offer(self, channel, **payload):
        for name, value in payload.items():
            getattr(self.dut, f"axi__{channel}{name}").value = value
        valid = getattr(self.dut, f"axi__{channel}valid")
        ready = getattr(self.dut, f"axi__{channel}ready")
        valid.value = 1
        while True:
            await ReadOnly()
            taken = int(ready.value)
            await RisingEdge(self.dut.clk)
            if taken:
                break
        valid.value = 0

    async def _idle(self, count):
        for _ in range(count):
            await RisingEdge(self.dut.clk)

    async def _address(self, channel, burst):
        await self._offer(
            channel,
            id=burst.id,
            addr=burst.addr,
            len=burst.beats - 1,
            size=self.beat_bytes.bit_length() - 1,
            burst=burst.burst,
        )

    async def read(self, bursts):
        """Issue reads, in order."""
        idle = self.stall()
        for burst in bursts:
            await self._idle(next(idle))
            while self._overlaps(burst, self.writes):
                await RisingEdge(self.dut.clk)
            start, end = self._span(burst)
            step = self.beat_bytes
            good = self.response(burst) == _OKAY
            self.reads.append((
                burst,
                [
                    int.from_bytes(self.memory[at : at + step], "little") if good else 0
                    for at in range(start, end, step)
                ],
            ))
            await self._address("ar", burst)

    async def write(self, bursts):
        """Issue writes, in order; their data may come before or after their address."""
        idle = self.stall()
        for burst in bursts:
            await self._idle(next(idle))
            while self._overlaps(burst, [b for b, _ in self.reads]):
                await RisingEdge(self.dut.clk)
            self.writes.append(burst)
            beats = zip(burst.data, burst.strobes, strict=True)
            self.words += [(d, s, i == burst.beats - 1) for i, (d, s) in enumerate(beats)]
            await self._address("aw", burst)

    async def _sends(self):
        idle = self.stall()
        while True:
            if not self.words:
                await RisingEdge(self.dut.clk)
                continue
            await self._idle(next(idle))
            data, strobe, last = self.words.popleft()
            await self._offer("w", data=data, strb=strobe, last=int(last))

    async def _transfers(self, channel):
        idle = self.stall()
        ready = getattr(self.dut, f"axi__{channel}ready")
        valid = getattr(self.dut, f"axi__{channel}valid")
        while True:
            ready.value = 0
            await self._idle(next(idle))
            ready.value = 1
            while True:
                await ReadOnly()
                if int(valid.value):
                    break
                await RisingEdge(self.dut.clk)
            yield
            await RisingEdge(self.dut.clk)

    async def _takes(self):
        dut = self.dut
        beat = 0
        async for _ in self._transfers("r"):
            assert self.reads, f"cycle {cycle()}: a beat that nobody asked for"
            burst, expected = self.reads[0]
            got = tuple(int(getattr(dut, f"axi__r{n}").value) for n in ("id", "resp", "last"))
            last = beat == burst.beats - 1
            where = f"cycle {cycle()}, read of {burst.beats} at {burst.addr:#x}, beat {beat}"
            assert got == (burst.id, self.response(burst), last), f"{where}: id, resp, last {got}"
            data = int(dut.axi__rdata.value)
            assert data == expected[beat], f"{where}: {data:#x}, expected {expected[beat]:#x}"
            beat = 0 if last else beat + 1
            if last:
                self.reads.popleft()

    async def _answers(self):
        dut = self.dut
        async for _ in self._transfers("b"):
            assert self.writes, f"cycle {cycle()}: a response that nobody asked for"
            burst = self.writes.popleft()
            got = tuple(int(getattr(dut, f"axi__b{n}").value) for n in ("id", "resp"))
            where = f"cycle {cycle()}, write of {burst.beats} at {burst.addr:#x}"
            assert got == (burst.id, self.response(burst)), f"{where}: id, resp {got}"
            if got[1] == _OKAY:
                self._apply(burst)

    def _apply(self, burst):
        start, _ = self._span(burst)
        for i, (data, strobe) in enumerate(zip(burst.data, burst.strobes, strict=True)):
            for j, byte in enumerate(data.to_bytes(self.beat_bytes, "little")):
                if strobe >> j & 1:
                    self.memory[start + i * self.beat_bytes + j] = byte

    async def finish(self):
        """Wait until everything is answered; what went wrong in the background is raised."""
        while self.reads or self.writes or self.words:
            await RisingEdge(self.dut.clk)
            for task in self.tasks:
                if task.done():
                    task.result()

    def random_write(self, rng, burst):
        """Give a burst random data and, often, holes."""
        full = (1 << self.beat_bytes) - 1
        burst.data = [rng.getrandbits(8 * self.beat_bytes) for _ in range(burst.beats)]
        burst.strobes = [
            full if rng.random() < 0.6 else rng.getrandbits(self.beat_bytes) for _ in burst.data
        ]
        return burst


async def keeps_offers(dut):
    """Watch for ever that what is offered on R and B stays the same until it is taken."""
    payloads = {"r": ("id", "data", "resp", "last"), "b": ("id", "resp")}
    offered = dict.fromkeys(payloads)
    while True:
        await ReadOnly()
        for channel, names in payloads.items():
            valid = int(getattr(dut, f"axi__{channel}valid").value)
            now = [int(getattr(dut, f"axi__{channel}{n}").value) for n in names] if valid else None
            before = offered[channel]
            assert before is None or int(dut.rst.value) or now == before, (
                f"cycle {cycle()}: {channel} changed its offer"
            )
            taken = int(getattr(dut, f"axi__{channel}ready").value)
            offered[channel] = None if taken or int(dut.rst.value) else now
        await RisingEdge(dut.clk)


def seeded(seed):
    """Return a random generator, and say its seed."""
    print(f"seed {seed}")
    return random.Random(seed)
