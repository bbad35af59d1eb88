"""The serial transport on a simulated board: UART and bridge in gates, bits of true length."""

import asyncio
import random
from pathlib import Path

import numpy as np
import pytest

from hw.spec.bridge import config_digest
from hw.spec.csr import ID_VALUE, REGISTERS
from sim.board.simulated_board import BoardError, SimulatedBoard
from sim.device.error import DeviceError
from sim.device.serial_channel import SerialChannel
from sim.device.serial_transport import SerialTransport
from tests.sim.pty_board import BAUD, CONFIG, MEMORY_BYTES, build

BUILD = Path("build/tests")
FAST_BIT, TRUE_BIT = 6, 100  # cycles: for speed, and 1 Mbaud at 100 MHz


@pytest.fixture(scope="module")
def executable():
    return build(BUILD / f"pty_board_{FAST_BIT}", bit_cycles=FAST_BIT)


def plusargs(folder, *more):
    image = folder / "memory.bin"
    if not image.exists():
        image.write_bytes(bytes(MEMORY_BYTES))
    return [f"+image0={image}", *more]


def connect(board, **options):
    return SerialTransport(SerialChannel(board.port), **{"timeout": 20.0} | options)


def copies_memory(transport, image, size, seed):
    """Write and read memory at odd addresses; compare with the image behind the board."""
    rng = random.Random(seed)
    start = rng.randrange(1000)
    transport.memory[start : start + size] = np.frombuffer(rng.randbytes(size), np.uint8)
    asyncio.run(transport.push(start, start + size))
    sent = transport.memory.copy()
    transport.memory[:] = 0
    asyncio.run(transport.pull(start, start + size))
    assert (transport.memory == sent).all()
    assert image.read_bytes() == sent.tobytes()


def test_host_reads_and_writes_through_the_line(executable, tmp_path):
    with SimulatedBoard(executable, tmp_path, plusargs(tmp_path)) as board:
        transport = connect(board)
        assert transport.info["config_digest"] == config_digest(CONFIG)
        assert transport.info["clock_hz"] == FAST_BIT * BAUD
        assert transport.info["memory_bytes"] == MEMORY_BYTES
        assert asyncio.run(transport.read(REGISTERS["id"].offset)) == ID_VALUE
        asyncio.run(transport.write(REGISTERS["kv_limit"].offset, 0x7E7D_5E5D))
        assert asyncio.run(transport.read(REGISTERS["kv_limit"].offset)) == 0x7E7D_5E5D
        copies_memory(transport, tmp_path / "memory.bin", 20_001, seed=71)
        assert transport.resent == 0
        first = transport.ping()
        assert transport.ping()["cycles"] > first["cycles"]
        assert first["dropped_frames"] == first["framing_errors"] == 0


def test_bits_have_their_true_length(tmp_path):
    """Once at 1 Mbaud and 100 MHz; everything else has a shorter bit, for speed."""
    slow = build(BUILD / f"pty_board_{TRUE_BIT}", bit_cycles=TRUE_BIT)
    with SimulatedBoard(slow, tmp_path, plusargs(tmp_path)) as board:
        copies_memory(connect(board), tmp_path / "memory.bin", 300, seed=72)


def test_lost_bytes_are_repaired(executable, tmp_path):
    options = plusargs(tmp_path, "+uart_drop=3001")
    with SimulatedBoard(executable, tmp_path, options) as board:
        transport = connect(board, timeout=3.0)
        copies_memory(transport, tmp_path / "memory.bin", 9000, seed=73)
        assert transport.resent
        assert transport.ping()["dropped_frames"]


def test_wrong_baud_rate_is_an_error(executable, tmp_path):
    options = plusargs(tmp_path, f"+uart_bit_cycles={FAST_BIT * 3}")
    with (
        SimulatedBoard(executable, tmp_path, options) as board,
        pytest.raises(DeviceError, match="baud rate"),
    ):
        connect(board, timeout=0.5, retries=2)


def test_port_in_use_and_no_port_are_errors(executable, tmp_path):
    with SimulatedBoard(executable, tmp_path, plusargs(tmp_path)) as board:
        channel = SerialChannel(board.port)
        with pytest.raises(DeviceError, match="serial is in use by another program"):
            SerialChannel(board.port)
        channel.close()
        SerialChannel(board.port).close()
    with pytest.raises(DeviceError, match="there is no port .*serial: is the board plugged in"):
        SerialChannel(board.port)


def test_host_that_goes_away_in_a_frame_leaves_a_board_that_answers(executable, tmp_path):
    with SimulatedBoard(executable, tmp_path, plusargs(tmp_path)) as board:
        transport = connect(board)
        asyncio.run(transport.push(0, 3000))
        transport._channel.write(b"\x7e\x05\x07\x00\x02half a frame")
        transport.close()
        again = connect(board)
        again.memory[:3000] = 1
        asyncio.run(again.pull(0, 3000))
        assert not again.memory[:3000].any()


def test_board_that_goes_away_in_a_load_is_an_error_and_is_found_again(executable, tmp_path):
    board = SimulatedBoard(executable, tmp_path, plusargs(tmp_path))
    transport = None

    def pulls_the_cable(done, total):
        if done > total // 2:
            board.stop()

    transport = connect(board, progress=pulls_the_cable, timeout=3.0)
    with pytest.raises(DeviceError, match="serial (is gone: was the cable pulled|takes no bytes)"):
        asyncio.run(transport.push(0, 50_000))
    transport.close()
    with SimulatedBoard(executable, tmp_path, plusargs(tmp_path)) as other:
        copies_memory(connect(other), tmp_path / "memory.bin", 1000, seed=74)


def test_board_that_does_not_start_is_an_error(executable, tmp_path):
    with pytest.raises(BoardError, match=r"has no serial port:(.|\n)*image0=<file> is missing"):
        SimulatedBoard(executable, tmp_path)
