"""Bench for `hw.board.bridge`.

Longer than 400 lines: hosts that behave badly, one by one, on the one line that is set up here.
"""

import random

import cocotb
from cocotb.triggers import ClockCycles, ReadOnly, RisingEdge
from cocotbext.axi import AxiResp

from hw.spec.bridge import (
    BOARDS,
    ESCAPE,
    FLAG,
    MAGIC,
    MAX_DATA,
    OPCODES,
    REPLY_BIT,
    STATUSES,
    VERSION,
    WINDOW,
    decode_frame,
    decode_ping,
    encode_frame,
    encode_request,
)
from tests.hw.axi_memory import AxiMemory
from tests.sim.bridge_model import BridgeModel
from tests.support.bench import STALLS, cycle, obeys_rules, params, start, watchdog

P = params()
SIZE = P["memory_bytes"]
CODES = {code: name for name, code in STATUSES.items()}
REGISTERS = 64  #: answer OKAY; those behind them SLVERR


class Registers:
    """AXI4-Lite registers in a dict, that answer when they like."""

    def __init__(self, dut, seed):
        self.dut = dut
        self.rng = random.Random(seed)
        self.values = {4 * n: self.rng.getrandbits(32) for n in range(REGISTERS)}
        self.accesses = []
        self.dead = False
        cocotb.start_soon(self._reads())
        cocotb.start_soon(self._writes())

    async def _takes(self, channel):
        """Take a transfer after some idle cycles."""
        dut = self.dut
        valid, ready = (getattr(dut, f"axil__{channel}{part}") for part in ("valid", "ready"))
        while True:
            await ReadOnly()
            if int(valid.value) and not self.dead:
                break
            await RisingEdge(dut.clk)
        await ClockCycles(dut.clk, 1 + self.rng.choice((0, 0, 1, 5)))
        ready.value = 1
        await ReadOnly()
        names = ("addr",) if channel != "w" else ("data", "strb")
        taken = [int(getattr(dut, f"axil__{channel}{name}").value) for name in names]
        await RisingEdge(dut.clk)
        ready.value = 0
        return taken

    async def _answers(self, channel, **values):
        dut = self.dut
        for name, value in values.items():
            getattr(dut, f"axil__{channel}{name}").value = value
        getattr(dut, f"axil__{channel}valid").value = 1
        await RisingEdge(dut.clk)
        getattr(dut, f"axil__{channel}valid").value = 0

    def _resp(self, addr):
        return AxiResp.OKAY if addr in self.values else AxiResp.SLVERR

    async def _reads(self):
        while True:
            (addr,) = await self._takes("ar")
            self.accesses.append(("read_register", addr))
            await self._answers("r", data=self.values.get(addr, 0), resp=self._resp(addr))

    async def _writes(self):
        while True:
            aw = cocotb.start_soon(self._takes("aw"))
            value, strobe = await self._takes("w")
            (addr,) = await aw
            assert strobe == 0xF
            self.accesses.append(("write_register", addr))
            if addr in self.values:
                self.values[addr] = value
            await self._answers("b", resp=self._resp(addr))


class Host:
    """The other end of the line, with the memory and registers behind the bridge."""

    def __init__(self, dut, *, stall="never", seed=1, errors=None, latency=5):
        self.dut = dut
        self.memory = AxiMemory(
            dut, size=SIZE, stall=STALLS[stall], seed=seed, errors=errors,
            latency=latency,
        )  # fmt: skip
        self.registers = Registers(dut, seed)
        self.heard = bytearray()
        self.resets = 0
        cocotb.start_soon(self._listen(STALLS[stall]()))

    async def _listen(self, idle):
        dut, was_reset = self.dut, 0
        while True:
            dut.o_byte__ready.value = 0
            for _ in range(next(idle)):
                await RisingEdge(dut.clk)
            dut.o_byte__ready.value = 1
            while True:
                await ReadOnly()
                valid = int(dut.o_byte__valid.value)
                if valid:
                    self.heard.append(int(dut.o_byte__payload.value))
                self.resets += int(dut.reset_request.value) and not was_reset
                was_reset = int(dut.reset_request.value)
                await RisingEdge(dut.clk)
                if valid:
                    break

    async def send(self, data, *, gap=0):
        """Put bytes on the line, ``gap`` cycles apart."""
        for byte in data:
            self.dut.i_byte__payload.value = byte
            self.dut.i_byte__valid.value = 1
            await RisingEdge(self.dut.clk)
            self.dut.i_byte__valid.value = 0
            if gap:
                await ClockCycles(self.dut.clk, gap)

    async def silence(self, cycles=3000):
        """Wait until nothing was heard for so long; return the bodies that were."""
        last = -1
        while last != len(self.heard):
            last = len(self.heard)
            await ClockCycles(self.dut.clk, cycles)
        return self.take()

    def take(self):
        """Return the bodies heard so far; between them must be nothing else."""
        parts = bytes(self.heard).split(bytes([FLAG]))
        bodies = [decode_frame(part) for part in parts if part]
        assert None not in bodies, bytes(self.heard).hex()
        self.heard.clear()
        return bodies

    async def ask(self, body):
        """Send a frame, and return (status, data) of its reply."""
        await self.send(encode_frame(body))
        while self.heard.count(FLAG) < 2:
            await RisingEdge(self.dut.clk)
        (reply,) = self.take()
        assert reply[:2] == bytes([body[0] | REPLY_BIT, body[1]])
        return CODES[reply[-1]], reply[2:-1]


async def begins(dut, **options):
    await start(dut)
    return await joins(dut, **options)


async def joins(dut, *, cycles=400_000, **options):
    """Return a host of a bridge that is started."""
    cocotb.start_soon(watchdog(dut, cycles))
    cocotb.start_soon(obeys_rules(dut, "o_byte"))
    host = Host(dut, **options)
    await ClockCycles(dut.clk, 2)
    return host


def some_request(rng, sequence):
    """Return the body of a request that is mostly right."""
    name = rng.choice((*OPCODES, "read_memory", "write_memory", "write_memory"))
    count, addr, data = 0, rng.getrandbits(32), b""
    if name.endswith("register"):
        count = rng.choice((4, 4, 4, 4, 4, 4, 3))
        addr = rng.choice((4 * rng.randrange(REGISTERS), 4 * rng.randrange(1024), addr % 4096))
    elif name.endswith("memory"):
        count = rng.choice((1, 7, 8, 9, 64, 65, rng.randrange(1, 200), rng.randrange(600)))
        addr = rng.randrange(SIZE - min(count, MAX_DATA) + rng.choice((1, 1, 1, 100)))
    if OPCODES[name].has_data:
        data = rng.randbytes(count)
        if rng.random() < 0.3:
            data = bytes(rng.choice((FLAG, ESCAPE, 0x5E, 0x5D)) for _ in data)
        if rng.random() < 0.1:
            data = data[:-1]
    body = encode_request(name, sequence, count=count, addr=addr, data=data)
    return body[:8] + body[8 : 8 + MAX_DATA]


def model_of(host):
    return BridgeModel(bytearray(host.memory.content), dict(host.registers.values))


def same_but_for_pings(got, expected):
    """Whether replies are those of the model, but for what a ping returns."""
    ping = OPCODES["ping"].code | REPLY_BIT
    assert len(got) == len(expected)
    for index, (a, b) in enumerate(zip(got, expected, strict=True)):
        if a[0] == b[0] == ping:
            a, b = a[:2] + a[-1:], b[:2] + b[-1:]
        assert a == b, f"reply {index}: {a.hex()}, expected {b.hex()}"


@cocotb.test()
@cocotb.parametrize(stall=list(STALLS), gap=[0, 3])
async def answers_are_those_of_the_model(dut, stall, gap):
    rng = random.Random(21)
    host = await begins(dut, stall=stall, seed=22)
    model = model_of(host)
    sequence = 0
    for round_ in range(25):
        # Up to three frames at a time, which fit the buffer.
        line = bytearray()
        expected = []
        for _ in range(rng.randrange(1, 4)):
            body = some_request(rng, sequence)
            twist = rng.random()
            if twist < 0.08:
                body = body[:1] + bytes([rng.randrange(256)]) + body[2:]
            copies = 2 if 0.08 < twist < 0.2 else 1
            frame = encode_frame(body) * copies
            if 0.2 < twist < 0.3:
                frame = rng.randbytes(rng.randrange(40)) + frame
            line += frame
            answer = model.feed(frame)
            expected += [decode_frame(part) for part in answer.split(bytes([FLAG])) if part]
            sequence = model._expected
        await host.send(line, gap=gap)
        same_but_for_pings(await host.silence(), expected)
        assert host.memory.content == model.memory, f"round {round_}"
        assert host.registers.values == model.registers, f"round {round_}"
    done = [access for access in model.carried_out if access[0].endswith("register")]
    assert host.registers.accesses == done
    assert host.resets == model.resets
    assert len(done) > 5


@cocotb.test()
async def ping_tells_what_is_there(dut):
    host = await begins(dut)
    await host.send(bytes([FLAG, 1, 2, 3, FLAG]))
    dut.framing_error.value = 1
    dut.line_break.value = 1
    await RisingEdge(dut.clk)
    dut.line_break.value = 0
    await ClockCycles(dut.clk, 2)
    dut.framing_error.value = 0
    await host.send(bytes([FLAG]))  # the error lay in a frame
    times = []
    for nonce in (0x1234_5678, 0xFFFF_FFFF):
        sent = cycle()
        status, data = await host.ask(encode_request("ping", 200, addr=nonce))
        ping = decode_ping(data)
        times.append((sent, ping.pop("cycles")))
        assert status == "ok"
        assert ping == {
            "magic": MAGIC,
            "version": VERSION,
            "board": BOARDS[P["board"]],
            "nonce": nonce,
            "config_digest": P["config_digest"],
            "clock_hz": P["clock_hz"],
            "memory_bytes": SIZE,
            "dropped_frames": 2,
            "framing_errors": 3,
            "breaks": 1,
            "spare": 0,
        }
    (sent, counted), (later, counted_later) = times
    assert counted_later - counted == later - sent


@cocotb.test()
async def counts_of_faults_of_the_line_stop_at_their_end(dut):
    await start(dut)
    dut.framing_error.value, dut.line_break.value = 1, 1
    await ClockCycles(dut.clk, (1 << 16) + 10)  # before anything of the bench looks at each
    dut.framing_error.value, dut.line_break.value = 0, 0
    host = await joins(dut)
    await host.send(bytes([FLAG, FLAG]))
    status, data = await host.ask(encode_request("ping", 200))
    ping = decode_ping(data)
    assert status == "ok"
    assert (ping["framing_errors"], ping["breaks"]) == ((1 << 16) - 1, (1 << 16) - 1)


@cocotb.test()
async def a_byte_changed_anywhere_changes_nothing(dut):
    host = await begins(dut, cycles=2_000_000)
    rng = random.Random(23)
    await host.ask(encode_request("ping", 0))
    before = bytes(host.memory.content)
    body = encode_request("write_memory", 1, count=21, addr=0x123, data=rng.randbytes(21))
    frame = encode_frame(body)
    for at in range(1, len(frame) - 1):
        for change in (1 << rng.randrange(8), rng.randrange(1, 256), frame[at] ^ FLAG):
            await host.send(frame[:at] + bytes([frame[at] ^ change]) + frame[at + 1 :])
        await ClockCycles(dut.clk, 150)
        assert host.memory.content == before, f"byte {at}"
        assert host.take() == [], f"byte {at}"
    for frame_ in (frame, frame):  # a repeated one is answered again, and done once
        writes = len(host.memory.writes)
        await host.send(frame_)
        assert await host.silence() == [bytes([body[0] | REPLY_BIT, 1, 0])]
    assert len(host.memory.writes) == writes
    assert host.memory.content[0x123 : 0x123 + 21] == body[8:]


@cocotb.test()
async def a_frame_cut_anywhere_changes_nothing_and_the_next_is_answered(dut):
    host = await begins(dut, cycles=2_000_000)
    rng = random.Random(24)
    await host.ask(encode_request("ping", 0))
    before = bytes(host.memory.content)
    body = encode_request("write_memory", 1, count=21, addr=0x321, data=rng.randbytes(21))
    frame = encode_frame(body)
    sequence = 1
    for at in range(1, len(frame) - 1):
        await host.send(frame[:at])
        if at % 3 == 0:
            dut.framing_error.value = 1
            await RisingEdge(dut.clk)
            dut.framing_error.value = 0
            await host.send(frame[at + 1 :])  # a byte is missing
        elif at % 3 == 1:
            await host.send(rng.randbytes(30).replace(bytes([FLAG]), b""))
        request = encode_request("read_register", sequence, count=4, addr=8)
        assert await host.ask(request) == ("ok", host.registers.values[8].to_bytes(4, "little"))
        sequence = (sequence + 1) % 256
    assert host.memory.content == before
    assert not host.memory.writes


@cocotb.test()
async def a_lost_byte_spoils_its_frame_even_if_the_rest_is_whole(dut):
    host = await begins(dut)
    await host.ask(encode_request("ping", 0))
    frame = encode_frame(encode_request("write_memory", 1, count=1, addr=5, data=b"x"))
    for name in ("framing_error", "overrun", "line_break"):
        await host.send(frame[:5])
        await ClockCycles(dut.clk, 2)
        getattr(dut, name).value = 1
        await RisingEdge(dut.clk)
        getattr(dut, name).value = 0
        await host.send(frame[5:])
        assert await host.silence() == []
    assert not host.memory.writes


@cocotb.test()
async def noise_and_endless_frames_are_dropped(dut):
    host = await begins(dut)
    rng = random.Random(25)
    await host.ask(encode_request("ping", 9))
    await host.send(rng.randbytes(6000))
    await host.send(bytes(5000))  # no flag in it
    assert await host.silence() == []
    whole = encode_request("write_memory", 10, count=MAX_DATA, addr=0, data=bytes(MAX_DATA))
    await host.send(encode_frame(whole + b"\0"))
    assert await host.silence() == []
    assert await host.ask(encode_request("ping", 9)) != ("gap", b"")
    assert not host.memory.writes
    assert (await host.ask(whole))[0] == "ok"


@cocotb.test()
async def frames_without_room_are_dropped_and_a_gap_is_told(dut):
    host = await begins(dut, latency=100)
    await host.ask(encode_request("ping", 255))
    bodies = [
        encode_request("write_memory", n, count=MAX_DATA, addr=MAX_DATA * n, data=bytes([n]) * 512)
        for n in range(8)
    ]
    await host.send(b"".join(map(encode_frame, bodies)))
    replies = await host.silence()
    done = [reply for reply in replies if reply[-1] == STATUSES["ok"]]
    gaps = [reply for reply in replies if reply[-1] == STATUSES["gap"]]
    assert [reply[1] for reply in done] == list(range(len(done)))
    assert 3 <= len(done) < 8
    assert all(reply[1] > len(done) for reply in gaps)
    for body in bodies:
        assert (await host.ask(body))[0] == "ok"
    for n in range(8):
        assert host.memory.content[512 * n : 512 * n + 512] == bytes([n]) * 512


@cocotb.test()
async def repeated_frames_of_a_whole_window_are_done_once(dut):
    host = await begins(dut)
    await host.ask(encode_request("ping", 250))
    bodies = [
        encode_request("write_register", (251 + n) % 256, count=4, addr=4 * n, data=bytes([n] * 4))
        for n in range(WINDOW + 1)
    ]
    statuses = [(await host.ask(body))[0] for body in bodies]
    assert statuses == ["ok"] * len(bodies)
    again = [(await host.ask(body))[0] for body in bodies]
    assert again == ["gap"] + ["ok"] * WINDOW
    assert len(host.registers.accesses) == len(bodies)
    other = bodies[-1][:-1] + b"\xff"
    assert await host.ask(other) == ("conflict", b"")
    # A new session knows nothing of the old one's frames.
    await host.ask(encode_request("ping", (252 + WINDOW) % 256))
    assert await host.ask(bodies[-1]) == ("gap", b"")


@cocotb.test()
async def bus_errors_are_told(dut):
    host = await begins(dut, errors={0x80: AxiResp.SLVERR, 0x200: AxiResp.DECERR})
    await host.ask(encode_request("ping", 0))
    before = bytes(host.memory.content)
    request = encode_request("write_memory", 1, count=100, addr=0x210, data=bytes(100))
    assert await host.ask(request) == ("ok", b"")
    # The first line is read, the next fails.
    status, data = await host.ask(encode_request("read_memory", 2, count=200, addr=0x40))
    assert status == "bus_error"
    assert data == before[0x40:0x80]
    request = encode_request("write_memory", 3, count=20, addr=0x200, data=bytes(20))
    assert (await host.ask(request))[0] == "bus_error"
    assert (await host.ask(request))[0] == "bus_error"
    assert (await host.ask(encode_request("read_register", 4, count=4, addr=0x800))) == (
        "bus_error", b"",
    )  # fmt: skip
    status, data = await host.ask(encode_request("read_memory", 5, count=9, addr=0x3F))
    assert (status, data) == ("ok", before[0x3F:0x48])


@cocotb.test()
async def dead_buses_time_out_and_reset_revives_them(dut):
    host = await begins(dut, latency=P["bus_timeout"] + 300)
    host.registers.dead = True
    await host.ask(encode_request("ping", 0))
    read = {"count": 8, "addr": 0x100}
    assert await host.ask(encode_request("read_memory", 1, **read)) == ("timeout", b"")
    # The late answer is forgotten, and what comes next is not mixed up with it.
    await ClockCycles(dut.clk, 400)
    host.memory.latency = 5
    expected = bytes(host.memory.content[0x100:0x108])
    assert await host.ask(encode_request("read_memory", 2, **read)) == ("ok", expected)
    for sequence in (3, 4):
        request = encode_request("read_register", sequence, count=4, addr=0)
        assert await host.ask(request) == ("timeout", b"")
    await host.ask(encode_request("ping", 8))
    assert await host.ask(encode_request("reset", 9)) == ("ok", b"")
    assert host.resets == 1
    host.registers.dead = False
    status, data = await host.ask(encode_request("read_register", 10, count=4, addr=4))
    assert status == "ok"
    assert int.from_bytes(data, "little") == host.registers.values[4]
