"""The serial transport, on a slow model of the bridge whose line loses and changes bytes."""

import asyncio
import random

import numpy as np
import pytest

from hw.spec.bridge import FLAG, MAX_DATA, WINDOW
from hw.spec.csr import IRQ, REGISTERS
from hw.spec.presets import preset
from sim.compiler.compile import compile_model
from sim.device.device import Device
from sim.device.error import DeviceError, NoInterrupt
from sim.device.serial_transport import SerialTransport
from sim.golden.random_model import random_model, small_shape
from tests.sim.bridge_model import BridgeModel
from tests.sim.fake_chip import FakeChip

SIZE = 1 << 16
SEED = 61


class Line:
    """A channel to a `BridgeModel`, in no time.

    Attributes
    ----------
    to_board, to_host : callable
        What becomes of the bytes of each direction.
    """

    name = "the line"

    def __init__(self, model):
        self.model = model
        self.to_board = self.to_host = lambda data: data
        self.sent = []  # each write
        self.closed = False
        self._heard = bytearray()

    def write(self, data):
        self.sent.append(data)
        self._heard += self.to_host(self.model.feed(self.to_board(data)))

    def read(self, timeout):
        assert timeout > 0
        data, self._heard = bytes(self._heard[:37]), self._heard[37:]
        return data

    def close(self):
        self.closed = True


def line_to(**options):
    rng = random.Random(SEED)
    memory = bytearray(rng.randbytes(SIZE))
    registers = {register.offset: 0 for register in REGISTERS.values()}
    return Line(BridgeModel(memory, registers, **options))


def faults(rng, share):
    """Return a function that changes, drops, doubles or adds bytes, this share of them."""

    def spoil(data):
        out = bytearray()
        for byte in data:
            if rng.random() >= share:
                out.append(byte)
                continue
            out += rng.choice((b"", bytes([byte ^ 1 << rng.randrange(8)]), bytes([byte, byte])))
            out += rng.choice((b"", b"", bytes([FLAG]), rng.randbytes(3)))
        return bytes(out)

    return spoil


def run(coroutine):
    return asyncio.run(coroutine)


@pytest.mark.parametrize("share", [0, 1e-4, 1e-3])
def test_memory_arrives_whole_whatever_the_line_does(share):
    rng = random.Random(SEED)
    line = line_to()
    transport = SerialTransport(line, retries=30)
    line.to_board, line.to_host = faults(rng, share), faults(rng, share)
    expected = bytearray(line.model.memory)
    for _ in range(12):
        start = rng.randrange(SIZE)
        stop = min(SIZE, start + rng.choice((0, 1, 100, 5000, 20_000)))
        transport.memory[start:stop] = np.frombuffer(rng.randbytes(stop - start), np.uint8)
        expected[start:stop] = transport.memory[start:stop].tobytes()
        run(transport.push(start, stop))
        assert line.model.memory == expected, f"seed {SEED}"
        start = rng.randrange(SIZE)
        stop = min(SIZE, start + rng.choice((1, 700, 9000)))
        run(transport.pull(start, stop))
        assert transport.memory[start:stop].tobytes() == expected[start:stop], f"seed {SEED}"
    assert (transport.resent == 0) == (share == 0)


def test_frame_that_is_sent_again_is_carried_out_once():
    """Registers see every access once, though requests and replies are lost."""
    rng = random.Random(SEED)
    line = line_to()
    transport = SerialTransport(line, retries=50)
    line.to_board, line.to_host = faults(rng, 0.01), faults(rng, 0.01)
    offset = REGISTERS["host_base"].offset
    for number in range(200):
        run(transport.write(offset, number))
        assert run(transport.read(offset)) == number
    done = [access for access in line.model.carried_out if access[1] == offset]
    assert done == [("write_register", offset), ("read_register", offset)] * 200
    assert transport.resent > 10


def test_window_is_full_and_not_fuller():
    line = line_to()
    transport = SerialTransport(line)
    run(transport.push(0, 40 * MAX_DATA))
    assert line.sent[1].count(FLAG) // 2 == WINDOW
    assert all(sent.count(FLAG) // 2 <= WINDOW for sent in line.sent)
    assert sum(sent.count(FLAG) for sent in line.sent[1:]) == 2 * 40


def test_frames_lie_at_multiples_of_their_length_on_the_board():
    line = line_to()
    transport = SerialTransport(line, base=100, memory_bytes=5000)
    transport.memory[:] = 7
    before = bytes(line.model.memory)
    run(transport.push(10, 1500))
    assert [addr for _, addr in line.model.carried_out] == [110, 512, 1024, 1536]
    assert line.model.memory == before[:110] + b"\7" * 1490 + before[1600:]


def test_a_gap_is_repaired_without_waiting():
    """The first frame of a window is lost: the answers to the others tell."""
    line = line_to()
    transport = SerialTransport(line, retries=0)
    lost = iter([True])
    line.to_board = lambda data: data[10:] if next(lost, False) else data
    transport.memory[:] = 3
    run(transport.push(0, 10 * MAX_DATA))
    assert line.model.memory[: 10 * MAX_DATA] == b"\3" * 10 * MAX_DATA
    assert transport.resent == 10


def test_progress_is_told():
    line = line_to()
    told = []
    transport = SerialTransport(line, progress=lambda done, total: told.append((done, total)))
    run(transport.push(100, 1500))
    assert told == [(412, 1400), (924, 1400), (1400, 1400)]
    run(transport.pull(0, 5))
    assert told[3:] == [(5, 5)]


def test_interrupt_is_asked_for():
    line = line_to()
    transport = SerialTransport(line)
    registers = line.model.registers
    enable, status = (REGISTERS[name].offset for name in ("irq_enable", "irq_status"))
    registers[enable] = 1 << IRQ["done"]
    registers[status] = 1 << IRQ["event"]  # not enabled
    asked = []
    count = iter(range(100))

    def rises(data):
        asked.append(data)
        if next(count) == 5:
            registers[status] |= 1 << IRQ["done"]
        return data

    line.to_board = rises
    run(transport.interrupt())
    assert len(asked) == 6
    run(transport.write(enable, 1 << IRQ["event"]))
    registers[status] = 1 << IRQ["event"]
    run(transport.interrupt())
    assert len(asked) == 8


def test_interrupt_that_never_comes_is_an_error():
    transport = SerialTransport(line_to(), patience=0.02)
    with pytest.raises(NoInterrupt, match=r"no interrupt came for 0\.02 s"):
        run(transport.interrupt())


def test_driver_runs_over_it_unchanged():
    model = random_model(small_shape(), 2)
    compiled = compile_model(model, preset("tiny"), page_count=12)
    chip = FakeChip(model, compiled)
    line = line_to()
    rng = random.Random(SEED)

    class Registers(dict):
        """The chip's: an access is one of the chip, which sees the board's memory."""

        def __contains__(self, offset):
            return True

        def __getitem__(self, offset):
            chip.inside[:] = np.frombuffer(line.model.memory, np.uint8)
            if offset == REGISTERS["irq_status"].offset:
                run_alone(chip.interrupt())
            value = run_alone(chip.read(offset))
            line.model.memory[:] = chip.inside.tobytes()
            return value

        def __setitem__(self, offset, value):
            run_alone(chip.write(offset, value))

    def run_alone(coroutine):
        with pytest.raises(StopIteration) as stopped:
            coroutine.send(None)
        return stopped.value.value

    line.model.memory = bytearray(len(chip.inside))
    line.model.registers = Registers()
    line.model.ping["memory_bytes"] = len(chip.inside)
    transport = SerialTransport(line, retries=30)
    line.to_board, line.to_host = faults(rng, 2e-4), faults(rng, 2e-4)
    device = Device(transport, compiled)

    async def work():
        await device.check()
        await device.load()
        return await device.generate((3, 14, 15, 9), 5), await device.counters()

    async def direct():
        other = Device(FakeChip(model, compiled), compiled)
        await other.load()
        return await other.generate((3, 14, 15, 9), 5), chip.counters

    assert run(work()) == run(direct())
    assert transport.resent


def pulled():
    raise DeviceError("port is gone")


def test_cable_that_is_pulled_is_an_error_and_the_next_try_works():
    line = line_to()
    transport = SerialTransport(line)
    transport.memory[:] = 9
    count = iter(range(100))

    def breaks(data):
        return data if next(count) < 2 else data[: len(data) // 2] and pulled()

    line.to_board = breaks
    with pytest.raises(DeviceError, match="port is gone"):
        run(transport.push(0, SIZE))
    # The same session's next call, and a new one.
    line.to_board = lambda data: data
    line.model.feed(b"\x7ehalf a frame")
    run(transport.push(0, 100))
    other = SerialTransport(line)
    run(other.pull(0, 200))
    assert other.memory[:100].tobytes() == b"\t" * 100


def test_board_that_falls_silent_is_an_error():
    line = line_to()
    transport = SerialTransport(line, retries=3)
    line.to_host = lambda data: b""
    with pytest.raises(DeviceError, match="the board on the line does not answer any more"):
        run(transport.read(0))
    assert transport.resent == 3
    line.to_host = lambda data: data
    assert run(transport.read(0)) == 0


@pytest.mark.parametrize(
    ("to_host", "message"),
    [
        (lambda data: b"", "no answer on the line: is the board on and programmed"),
        (lambda data: bytes(100), "bytes came from the line, but no answer: wrong baud rate"),
        (lambda data: data[:9] + b"1" + data[10:], "wrong baud rate, or another device"),
    ],
)
def test_nothing_sensible_answers(to_host, message):
    line = line_to()
    line.to_host = to_host
    with pytest.raises(DeviceError, match=message):
        SerialTransport(line, retries=1, timeout=0.05)


def test_noise_without_end_is_an_error():
    line = line_to()
    line.read = lambda timeout: b"noise"
    with pytest.raises(DeviceError, match="wrong baud rate"):
        SerialTransport(line, retries=1, timeout=0.05)


@pytest.mark.parametrize(
    ("options", "expected", "message"),
    [
        ({"version": 2}, {}, "the board's bridge has version 2, and this driver knows 1: program"),
        (
            {"board": "ulx4m_ls"},
            {"board": "ulx3s"},
            "the bitstream is for board ulx4m_ls, not ulx3s",
        ),
        ({}, {"memory_bytes": SIZE, "base": 16}, "the image needs 65536 bytes from 0x10 on, and"),
    ],
)
def test_other_board_is_refused(options, expected, message):
    with pytest.raises(DeviceError, match=message):
        SerialTransport(line_to(**options), **expected)


def test_board_must_be_known():
    with pytest.raises(ValueError, match="board must be one of .*, not 'arty'"):
        SerialTransport(line_to(), board="arty")


def test_range_outside_memory_is_refused():
    transport = SerialTransport(line_to())
    with pytest.raises(DeviceError, match="bytes 0 to 65537 are outside the memory of 65536"):
        run(transport.push(0, SIZE + 1))


def test_board_errors_are_named():
    line = line_to()
    transport = SerialTransport(line)
    with pytest.raises(DeviceError, match="read_register of 4 bytes at 0x900: bus_error: answered"):
        run(transport.read(0x900))
    with pytest.raises(DeviceError, match="at 0x902: bad_address: the board has nothing there"):
        run(transport.read(0x902))
    line.model.memory = line.model.memory[:1000]
    with pytest.raises(DeviceError, match="write_memory of 512 bytes at 0x200: bad_address"):
        run(transport.push(0, 5000))
    assert run(transport.read(0)) == 0


def test_another_program_on_the_same_board_is_noticed():
    line = line_to()
    first = SerialTransport(line)
    run(first.read(0))
    second = SerialTransport(line)
    run(second.read(0))
    with pytest.raises(DeviceError):
        run(first.write(REGISTERS["host_base"].offset, 5))
    assert line.model.registers[REGISTERS["host_base"].offset] == 0


def test_reset_and_close():
    line = line_to()
    transport = SerialTransport(line)
    run(transport.reset())
    assert line.model.resets == 1
    transport.close()
    assert line.closed
