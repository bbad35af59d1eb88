"""The whole board in a simulator, reached through its serial line."""

import asyncio
import os
import random
import re
import subprocess
import sys
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from amaranth.sim import Simulator

from hw.board.boards import BAUD, BOARDS, board
from hw.board.bridge_ping import BridgePing
from hw.spec.bridge import PING_BYTES, VERSION, config_digest, decode_ping
from hw.spec.csr import ID_VALUE, REGISTERS
from hw.spec.presets import preset
from scripts import board_speed, simulated_board
from sim.board.board_simulator import build_board, fastest_link
from sim.board.fault import FAULTS, fault
from sim.board.simulated_board import BoardError
from sim.compiler.compile import compile_model
from sim.device.device import Device
from sim.device.error import DeviceError
from sim.device.serial_channel import SerialChannel
from sim.device.serial_transport import SerialTransport
from sim.golden.random_model import random_model, small_shape
from sim.run.golden_run import run_golden
from sim.verilate import BALANCED

CONFIG = preset("tiny")
SEED = 61
SPEEDUP = fastest_link(board("ulx3s"))


@pytest.fixture(scope="module")
def simulator():
    return build_board(board("ulx3s"), config=CONFIG, link_speedup=SPEEDUP, fast=BALANCED)


@cache
def model():
    return random_model(small_shape(), SEED)


def connect(running, **options):
    return SerialTransport(SerialChannel(running.port), timeout=20.0, **options)


def copied(transport, start, data):
    """Return what is read after bytes were written to the board's memory."""
    transport.memory[start : start + len(data)] = np.frombuffer(data, np.uint8)
    asyncio.run(transport.push(start, start + len(data)))
    transport.memory[:] = 0
    asyncio.run(transport.pull(start, start + len(data)))
    return transport.memory[start : start + len(data)].tobytes()


def test_board_answers_and_has_registers_and_memory(simulator, tmp_path):
    with simulator.start(tmp_path) as running:
        transport = connect(running, memory_bytes=1 << 12)
        found = board("ulx3s")
        assert transport.info["config_digest"] == config_digest(CONFIG)
        assert transport.info["clock_hz"] == found.clock_hz
        assert transport.info["memory_bytes"] == 1 << 25
        assert asyncio.run(transport.read(REGISTERS["id"].offset)) == ID_VALUE
        data = random.Random(SEED).randbytes(301)
        assert copied(transport, 1003, data) == data
        assert (tmp_path / "sdram.bin").read_bytes()[1003 : 1003 + len(data)] == data


def test_reset_by_the_host_keeps_memory_and_clears_registers(simulator, tmp_path):
    with simulator.start(tmp_path) as running:
        transport = connect(running, memory_bytes=1 << 12)
        data = random.Random(SEED + 1).randbytes(64)
        copied(transport, 0, data)
        asyncio.run(transport.write(REGISTERS["kv_base"].offset, 0x1234_5678))
        asyncio.run(transport.reset())
        assert asyncio.run(transport.read(REGISTERS["kv_base"].offset)) == 0
        transport.memory[:] = 0
        asyncio.run(transport.pull(0, len(data)))
        assert transport.memory[: len(data)].tobytes() == data


def test_generation_through_the_line_equals_golden(simulator, tmp_path):
    compiled = compile_model(model(), CONFIG)
    prompt, count = (5, 17, 3), 3
    image = tmp_path / "image.bin"
    memory = np.zeros(compiled.memory_map.size_bytes, dtype=np.uint8)
    compiled.fill(memory)
    memory.tofile(image)
    with simulator.start(tmp_path, image=image) as running:
        device = Device(connect(running, memory_bytes=len(memory)), compiled)

        async def generates():
            await device.check()
            await device.attach()
            return await device.generate(prompt, count), await device.counters()

        tokens, counters = asyncio.run(generates())
    assert tokens == run_golden(model(), prompt, count).tokens
    assert counters["tokens"] == count


def test_stuck_bit_is_seen_in_every_word(simulator, tmp_path):
    with simulator.start(tmp_path, fault=fault("stuck_bit:3:1")) as running:
        found = copied(connect(running, memory_bytes=64), 0, bytes(64))
        assert found == bytes([8, 0]) * 32


def test_swapped_address_lines_turn_the_words_of_a_burst(simulator, tmp_path):
    # Bit 8 of a byte's address is line 7, which comes out at line 0: the second word of a burst.
    with simulator.start(tmp_path, fault=fault("swapped_address")) as running:
        transport = connect(running, memory_bytes=1 << 10)
        data = random.Random(SEED + 5).randbytes(4)
        assert copied(transport, 256, data) == data
    found = (tmp_path / "sdram.bin").read_bytes()
    assert found[:4] == data[2:] + data[:2]


@pytest.mark.parametrize("lines", ["3:7", "2:8", "0:1", "5:5"])
def test_swap_that_only_renames_words_is_refused(lines):
    with pytest.raises(ValueError, match="only renames words, which nobody can see: one of"):
        fault(f"swapped_address:{lines}").check(8)


@pytest.mark.parametrize(("lines", "port_bytes"), [("0:7", 4), ("7:1", 8), ("0:2", 8), ("2:3", 16)])
def test_swap_that_reaches_into_a_burst_is_allowed(lines, port_bytes):
    fault(f"swapped_address:{lines}").check(port_bytes)


def test_faults_are_seen_by_default():
    for found in BOARDS.values():
        for name in FAULTS:
            fault(name).check(preset(found.preset).port_bytes)


def test_swapped_address_lines_exchange_places(simulator, tmp_path):
    # Column lines 3 and 7 are bits 4 and 8 of a byte's address.
    with simulator.start(tmp_path, fault=fault("swapped_address:3:7")) as running:
        transport = connect(running, memory_bytes=1 << 10)
        data = random.Random(SEED + 2).randbytes(8)
        assert copied(transport, 16, data) == data
    found = (tmp_path / "sdram.bin").read_bytes()
    assert found[256:264] == data
    assert found[16:24] == bytes(8)


def test_rows_lose_their_data_before_they_are_refreshed(simulator, tmp_path):
    with simulator.start(tmp_path, fault=fault("retention:200")) as running:
        transport = connect(running, memory_bytes=1 << 12)
        data = random.Random(SEED + 3).randbytes(8)
        assert copied(transport, 0, data) == data
        copied(transport, 2048, bytes(1500))  # takes longer than the rows keep their data
        asyncio.run(transport.pull(0, 8))
        assert transport.memory[:8].tobytes() == b"\x55\x55\xaa\xaa" * 2


def test_wrong_baud_rate_is_an_error(simulator, tmp_path):
    with (
        simulator.start(tmp_path, fault=fault("baud:300")) as running,
        pytest.raises(DeviceError, match=r"baud rate"),
    ):
        SerialTransport(SerialChannel(running.port), timeout=0.5, retries=2)


def test_dropped_bytes_are_repaired(simulator, tmp_path):
    with simulator.start(tmp_path, fault=fault("dropped_bytes:601")) as running:
        transport = SerialTransport(SerialChannel(running.port), timeout=10.0, memory_bytes=4096)
        data = random.Random(SEED + 4).randbytes(700)
        assert copied(transport, 0, data) == data
        assert transport.resent


def test_fault_of_the_version_is_another_version():
    assert fault("version").version != VERSION
    assert fault("version:7").version == 7
    assert all(fault(name).version == VERSION for name in FAULTS if name != "version")


def test_board_tells_its_version():
    dut = BridgePing(board="ulx3s", config_digest=1, clock_hz=2, memory_bytes=3, version=7)
    told = bytearray()

    async def bench(ctx):
        for index in range(PING_BYTES):
            ctx.set(dut.index, index)
            await ctx.tick()
            told.append(ctx.get(dut.byte))

    simulation = Simulator(dut)
    simulation.add_clock(1e-8)
    simulation.add_testbench(bench)
    simulation.run()
    assert decode_ping(told)["version"] == 7


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("fire", "fault must be one of stuck_bit, .*, not 'fire'"),
        ("stuck_bit:16", "bit of fault stuck_bit must be 0 to 15, not '16'"),
        ("stuck_bit:-1", "bit of fault stuck_bit must be 0 to 15, not '-1'"),
        ("baud:50:1", "fault baud has the values percent, not 2"),
    ],
)
def test_unknown_fault_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        fault(text)


def test_line_too_fast_for_the_clock_is_refused():
    found = board("ulx3s")
    limit = f"baud must be at most {SPEEDUP * BAUD} at a clock of {found.clock_hz}"
    with pytest.raises(ValueError, match=limit):
        build_board(found, link_speedup=SPEEDUP + 1)


# The command with a simulator that is built already.
COMMAND = """
import sys
from pathlib import Path
from hw.board.boards import board
from hw.board.bridge_ping import BridgePing
from scripts import board_speed, simulated_board
from sim.board.board_simulator import BoardSimulator
built = BoardSimulator(board("ulx3s"), Path(sys.argv[1]), int(sys.argv[2]))
simulated_board.build_board = lambda *_, **__: built
sys.exit(simulated_board.main(sys.argv[3:]))
"""


def command(simulator, *arguments):
    words = [str(simulator.executable), str(simulator.bit_cycles), *arguments]
    return subprocess.Popen(
        [sys.executable, "-c", COMMAND, *words],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def test_command_prints_a_port_and_runs_until_it_is_ended(simulator):
    process = command(simulator, "--fault", "stuck_bit:0:1")
    port = process.stdout.readline().rstrip("\n")
    transport = SerialTransport(SerialChannel(port), timeout=20.0, memory_bytes=64)
    assert copied(transport, 0, bytes(8)) == bytes([1, 0]) * 4
    process.terminate()
    assert process.communicate(timeout=20) == ("", "")
    assert process.returncode == 0


def test_command_says_why_a_board_ended(simulator, tmp_path):
    image = tmp_path / "image"
    image.write_bytes(b"x")
    os.truncate(image, (1 << 25) + 1)
    process = command(simulator, "--image", str(image))
    output, errors = process.communicate(timeout=60)
    assert (process.returncode, output) == (1, "")
    assert "has 33554433 bytes, the chip only 33554432" in errors


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--board", "arty"], "board must be one of ulx3s, .*, not 'arty'"),
        (["--preset", "huge"], "preset must be one of .*, not 'huge'"),
        (["--fault", "fire"], "fault must be one of .*, not 'fire'"),
        (["--fault", "swapped_address:3:7"], "fault swapped_address:3:7 only renames words, .*"),
        (["--image", "nowhere"], "--image must be a file, not 'nowhere'"),
        (["--link-speedup", str(SPEEDUP + 1)], f"baud must be at most {SPEEDUP * BAUD} .*"),
        (["--link-speedup", "0"], "baud must be .*, not 0"),
    ],
)
def test_command_refuses_bad_input_in_one_line(capsys, words, message):
    assert simulated_board.main(words) == 2
    output, errors = capsys.readouterr()
    assert output == ""
    assert re.fullmatch(f"simulated_board: {message}\n", errors)


TINY = replace(board("ulx3s"), preset="tiny")


def test_speed_is_measured_on_golden_tokens(simulator, tmp_path, monkeypatch):
    monkeypatch.setattr(board_speed, "build_board", lambda *_, **__: simulator)
    first, whole = board_speed.measure(TINY, model(), (5, 17, 3), (1, 3), tmp_path)
    decode = whole.since(first)
    assert (first.tokens, decode.tokens) == (1, 2)
    assert 0.5 < decode.share(CONFIG.port_bytes) < 1  # small matrices: much is latency


def test_speed_of_wrong_tokens_is_refused(simulator, tmp_path, monkeypatch):
    other = random_model(small_shape(), SEED + 1)
    monkeypatch.setattr(board_speed, "build_board", lambda *_, **__: simulator)
    monkeypatch.setattr(board_speed, "run_golden", lambda _, *words: run_golden(other, *words))
    with pytest.raises(BoardError, match=r"tokens \[.*\] differ from golden's \[.*\]"):
        board_speed.measure(TINY, model(), (5, 17, 3), (1,), tmp_path)


def test_speed_says_what_the_simulator_said_at_its_end(simulator, tmp_path, monkeypatch):
    """As it does at a rule of the SDRAM that is broken."""

    async def measure(device, prompt, counts):
        (running,) = boards
        running._process.kill()
        await device.check()

    boards = []

    class Built:
        @staticmethod
        def start(*arguments, **options):
            boards.append(simulator.start(*arguments, **options))
            with boards[0]._log.open("a") as log:
                log.write("sdram: tRCD is broken\n")
            return boards[0]

    monkeypatch.setattr(board_speed, "build_board", lambda *_, **__: Built)
    monkeypatch.setattr(board_speed, "_measure", measure)
    with pytest.raises(BoardError, match=r"(?s)the simulator has ended:.*tRCD is broken"):
        board_speed.measure(TINY, model(), (5, 17, 3), (1,), tmp_path)


@pytest.fixture
def measured(monkeypatch, tmp_path):
    """Have the command measure what a list of cycles and beats says; return list and docs."""
    runs = [board_speed.Measure(1, 1000, 200), board_speed.Measure(6, 6000, 1400)]
    docs = tmp_path / "board.md"
    docs.write_text("a\n<!-- speed -->\nold\n<!-- end of speed -->\nb\n")
    monkeypatch.setattr(board_speed, "DOCS", docs)
    monkeypatch.setattr(board_speed, "measure", lambda *_: runs)
    return runs, docs


def test_speed_is_written_into_the_docs(measured, capsys):
    _, docs = measured
    assert board_speed.main([]) == 0
    assert "\nold\n" in docs.read_text()
    assert board_speed.main(["--accept"]) == 0
    text = docs.read_text()
    assert text.startswith("a\n<!-- speed -->\n| | |\n|---|---|\n| board, preset | `ulx3s`,")
    assert "| clock, SDRAM | 40 MHz, `is42s16160g-7` |\n" in text
    assert "| cycles a token | 1,000 |\n| tokens a second | 40000.0 |\n" in text
    assert "| share of the SDRAM's pins | 0.960 |\n| goal | 0.90 |\n" in text
    assert "| command | `python -m scripts.board_speed --accept` |\n" in text
    assert text.endswith("<!-- end of speed -->\nb\n")


def test_speed_below_the_goal_fails(measured, capsys):
    runs, docs = measured
    runs[1] = board_speed.Measure(6, 6000, 1320)
    assert board_speed.main(["--accept"]) == 1
    assert capsys.readouterr().err == (
        "board_speed: 0.896 of the pins in decode, and the goal is 0.90\n"
    )
    assert "\nold\n" in docs.read_text()


def test_share_of_the_pins_counts_bytes_of_beats():
    assert board_speed.Measure(tokens=1, cycles=400, beats=50).share(8) == 0.5


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--board", "arty"], "board must be one of ulx3s, .*, not 'arty'"),
        (["--tokens", "1"], "--tokens must be 2 at least, not 1"),
    ],
)
def test_speed_refuses_bad_input_in_one_line(capsys, words, message):
    assert board_speed.main(words) == 2
    output, errors = capsys.readouterr()
    assert output == ""
    assert re.fullmatch(f"board_speed: {message}\n", errors)
