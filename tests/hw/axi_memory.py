"""A memory on an AXI4 port, made of the channels of `cocotbext.axi`."""

import random
from collections import deque

import cocotb
from cocotb.triggers import RisingEdge
from cocotbext.axi import AxiBus, AxiResp
from cocotbext.axi.axi_channels import AxiARSink, AxiAWSink, AxiBSource, AxiRSource, AxiWSink

__all__ = ["AxiMemory"]


class AxiMemory:
    """Answer bursts after a latency; IDs overtake each other, beats of one ID keep their order.

    `cocotbext.axi.AxiRam` serves one burst after the other, which hides what reordering and a
    long latency bring out. Every burst is checked: INCR, full-size beats, inside one page.

    Parameters
    ----------
    dut : SimHandle
        Top module.
    prefix : str
        What the names of the port's signals begin with; by default that of a port ``axi``.
    base, size : int
        First address of the memory, and its bytes; addresses outside are a failure.
    latency : int
        Cycles from an address to the first beat, and from the last beat written to its response.
    stall : callable
        Makes generators of idle cycles, as in `tests.support.bench.STALLS`.
    seed : int
        Seed of the content and of the order.
    errors : dict
        Response for a burst, by its address.
    """

    def __init__(
        self,
        dut,
        *,
        prefix="axi_",
        base=0,
        size=1 << 16,
        latency=1,
        stall=None,
        seed=1,
        errors=None,
    ):
        self.dut = dut
        self.base = base
        self.latency = latency
        self.errors = dict(errors or {})
        self.rng = random.Random(seed)
        self.content = bytearray(self.rng.randbytes(size))
        self.reads = []  # (ID, address, beats) of each burst
        self.writes = []  # (address, beats)
        self.strobes = []  # of each beat written
        self.reading = {}  # by ID: bursts of [due, address, beats left, response]
        self.announced = deque()  # bursts whose data is missing: [ID, address, beats left, start]
        self.answering = deque()  # (due, ID, response)
        self.now = 0
        bus = AxiBus.from_prefix(dut, prefix)
        self.ar, self.r = AxiARSink(bus.read.ar, dut.clk), AxiRSource(bus.read.r, dut.clk)
        self.aw, self.w = AxiAWSink(bus.write.aw, dut.clk), AxiWSink(bus.write.w, dut.clk)
        self.b = AxiBSource(bus.write.b, dut.clk)
        self.beat_bytes = len(self.r.bus.rdata) // 8
        for index, channel in enumerate((self.ar, self.r, self.aw, self.w, self.b)):
            channel.log.setLevel("WARNING")
            if stall is not None:
                channel.set_pause_generator(self.pauses(stall, skip=index))
        cocotb.start_soon(self._serve())

    @staticmethod
    def pauses(stall, *, skip):
        """Return pauses of a channel, out of step with those of another ``skip``."""
        idle = stall()
        for _ in range(7 * skip):
            next(idle)
        for count in idle:
            yield from (True,) * count
            yield False

    async def _serve(self):
        while True:
            await RisingEdge(self.dut.clk)
            self.now += 1
            while not self.ar.empty():
                burst = self.ar.recv_nowait()
                addr, beats = self._checked(burst, "ar")
                self.reads.append((int(burst.arid), addr, beats))
                todo = [self.now + self.latency, addr, beats, self.errors.get(addr, AxiResp.OKAY)]
                self.reading.setdefault(int(burst.arid), deque()).append(todo)
            self._write()
            # The sources hold one beat on the port; one more keeps them from idling.
            if self.r.count() < 2:
                self._read_beat()
            if self.answering and self.answering[0][0] <= self.now and self.b.count() < 2:
                _, bid, resp = self.answering.popleft()
                self.b.send_nowait(self.b._transaction_obj(bid=bid, bresp=resp))

    def _checked(self, burst, channel):
        addr, beats = (int(getattr(burst, channel + part)) for part in ("addr", "len"))
        beats += 1
        assert 1 << int(getattr(burst, f"{channel}size")) == self.beat_bytes
        assert int(getattr(burst, f"{channel}burst")) == 1, "not INCR"
        assert addr % self.beat_bytes == 0, f"{addr:#x} is not aligned"
        end = addr + beats * self.beat_bytes
        assert addr // 4096 == (end - 1) // 4096, f"{addr:#x} + {beats} beats leaves its page"
        inside = self.base <= addr and end <= self.base + len(self.content)
        assert inside, f"{addr:#x} + {beats} beats is outside the memory"
        return addr, beats

    def _read_beat(self):
        due = [rid for rid, bursts in self.reading.items() if bursts and bursts[0][0] <= self.now]
        if not due:
            return
        rid = self.rng.choice(due)
        burst = self.reading[rid][0]
        _, addr, beats, resp = burst
        at = addr - self.base
        data = int.from_bytes(self.content[at : at + self.beat_bytes], "little")
        burst[1:3] = addr + self.beat_bytes, beats - 1
        if beats == 1:
            self.reading[rid].popleft()
        beat = self.r._transaction_obj(rid=rid, rdata=data, rresp=resp, rlast=int(beats == 1))
        self.r.send_nowait(beat)

    def _write(self):
        while not self.aw.empty():
            burst = self.aw.recv_nowait()
            addr, beats = self._checked(burst, "aw")
            self.writes.append((addr, beats))
            self.announced.append([int(burst.awid), addr, beats, addr])
        while not self.w.empty():
            beat = self.w.recv_nowait()
            assert self.announced, "data before its address"
            burst = self.announced[0]
            bid, addr, beats, start = burst
            assert int(beat.wlast) == (beats == 1), "wlast is wrong"
            strobe = int(beat.wstrb)
            self.strobes.append(strobe)
            data = int(beat.wdata).to_bytes(self.beat_bytes, "little")
            for i in range(self.beat_bytes):
                if strobe >> i & 1:
                    self.content[addr - self.base + i] = data[i]
            burst[1:3] = addr + self.beat_bytes, beats - 1
            if beats == 1:
                self.announced.popleft()
                resp = self.errors.get(start, AxiResp.OKAY)
                self.answering.append((self.now + self.latency, bid, resp))
