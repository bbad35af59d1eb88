"""The ladder on a board in plain Python: every rung passes, and names what is wrong."""

from dataclasses import replace

import pytest

from hw.spec.bridge import VERSION
from hw.spec.presets import preset
from sim.bringup import link
from sim.bringup.ladder import RUNGS, climb
from sim.bringup.target import Target
from sim.device.error import PortError
from tests.bringup.climbing import ALL, CONFIG, SIZE, fault_of, outcomes, settings, tokens
from tests.bringup.fake_board import CLOCK_HZ, FakeBoard, FakeLine, FakeMemory


def test_every_rung_passes():
    found = outcomes()
    assert [*found] == [rung.number for rung in RUNGS] == [*ALL]
    assert {n: (o.verdict, o.fault, o.got) for n, o in found.items()} == dict.fromkeys(
        ALL, ("PASS", "", "")
    )
    assert all(outcome.found for outcome in found.values())


def test_rungs_that_need_a_failed_one_are_not_run():
    memory = FakeMemory(SIZE, data=lambda word: word & ~(1 << 5))
    found = outcomes(FakeBoard(CONFIG, [tokens()], memory=memory))
    verdicts = ["PASS"] * 3 + ["FAIL"] + ["NOT RUN"] * 5
    assert [outcome.verdict for outcome in found.values()] == verdicts
    assert found[5].fault == "needs rung 4"


def test_wrong_version_is_named():
    board = FakeBoard(CONFIG, version=VERSION + 1)
    assert fault_of(1, board) == "wrong version of the bitstream"


def test_wrong_board_is_named():
    assert fault_of(1, FakeBoard(CONFIG, board="ulx4m_ls")) == "bitstream of another board"


def test_wrong_configuration_is_named():
    assert fault_of(1, FakeBoard(preset("small"))) == "chip of another configuration"


def test_silence_is_named():
    board = FakeBoard(CONFIG)
    deaf = FakeLine(board, to_board=lambda data: b"")
    expected = settings(simulated=True)
    assert fault_of(1, line=deaf, expected=expected) == "no answer: wrong baud rate, or no board"


def test_baud_rate_of_the_board_is_found(monkeypatch):
    monkeypatch.setattr(link, "_PROBE_SECONDS", 0.01)
    board = FakeBoard(CONFIG)

    def open_channel(baud):
        if baud == link.RATES[0]:
            raise PortError("no such rate")
        return FakeLine(board, to_board=None if baud == 500_000 else lambda data: b"")

    (found,) = climb(Target(open_channel, settings()), [1])
    assert found.fault == "wrong baud rate: the board answers at 500000"
    assert found.look == "--baud 500000"


def test_lost_bytes_are_named():
    count = 0

    def drops(data):
        nonlocal count
        out = bytearray()
        for byte in data:
            count += 1
            if count % 3001:
                out.append(byte)
        return bytes(out)

    line = FakeLine(FakeBoard(CONFIG), to_board=drops)
    assert fault_of(1, line=line) == "bytes are lost on the line"


def test_wrong_clock_is_named():
    board = FakeBoard(CONFIG, clock_hz=CLOCK_HZ // 5)
    assert fault_of(2, board) == "the clock is 0.2 MHz"
    assert outcomes(board, [2], expected=settings(simulated=True))[2].verdict == "PASS"


def test_clock_that_stands_still_is_named():
    board = FakeBoard(CONFIG, clock_hz=0)
    assert fault_of(2, board) == "the clock stands still"


def test_reset_that_does_nothing_is_named():
    board = FakeBoard(CONFIG)
    board._reset_values = {}
    assert fault_of(2, board) == "reset does not reach the chip"


@pytest.mark.parametrize(
    ("name", "change", "fault"),
    [
        ("kv_base", lambda value: value & ~(1 << 9), "register kv_base: wrong bits 9"),
        ("context", lambda value: value | 1, "register context: wrong bits 0"),
        ("config2", lambda value: value ^ 0x10000, "register config2: wrong bits 16"),
    ],
)
def test_register_and_bit_are_named(name, change, fault):
    board = FakeBoard(CONFIG)
    board.register_value = lambda at, value: change(value) if at == name else value
    assert fault_of(3, board) == fault


def test_register_that_can_be_written_is_named(monkeypatch):
    board = FakeBoard(CONFIG)
    carry_out = board._carry_out
    monkeypatch.setattr(
        board,
        "_carry_out",
        lambda name, *rest: (
            ("ok", b"") if name == "write_register" and not rest[0] else carry_out(name, *rest)
        ),
    )
    assert fault_of(3, board) == "register id can be written"


def dead(bit):
    return lambda word: word & ~(1 << bit - 1)


def joined(one, other):
    mask = 1 << one - 1 | 1 << other - 1
    return lambda word: word | mask if word & mask else word


def exchanged(inner, outer, burst=2):
    """Lines of the column: the chip counts inside of a burst from where it is told."""

    def place(word):
        start, offset = word // burst * burst, word % burst
        differ = (start >> inner ^ start >> outer) & 1
        start ^= differ << inner | differ << outer
        return start // burst * burst + (start + offset) % burst

    return place


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"data": lambda w: w & ~(1 << 5)}, "data bus: D5 is stuck at 0"),
        ({"data": lambda w: w | 1 << 14 | 2}, "data bus: D1 is stuck at 1; D14 is stuck at 1"),
        (
            {"data": lambda w: w & ~0x18 | (0x18 if w & 0x18 == 0x18 else 0)},
            "data bus: D3 and D4 are joined",
        ),
        (
            {"data": lambda w: w & ~0x81 | (w & 1) << 7 | w >> 7 & 1},
            "data bus: D0 and D7 are exchanged",
        ),
        (
            {"data": lambda w: 0xFFFF},
            "data bus: nothing but 0xffff is read: the memory does not answer",
        ),
        ({"place": dead(6)}, "address bus: A5 (column) is dead"),
        ({"place": dead(10)}, "address bus: BA0 is dead"),
        ({"place": dead(19)}, "address bus: A7 (row) is dead"),
        ({"place": joined(8, 13)}, "address bus: A7 (column) and A1 (row) are joined"),
        ({"place": exchanged(0, 7)}, "address bus: A0 (column) and A7 (column) are exchanged"),
        ({"retention": 1e-3}, "refresh: rows lose their data within 2 ms"),
    ],
)
def test_fault_of_the_memory_is_named(options, fault):
    assert fault_of(4, FakeBoard(CONFIG, memory=FakeMemory(SIZE, **options))) == fault


@pytest.mark.parametrize(
    ("config", "place", "fault"),
    [
        ("tiny", dead(2), "A1 (column) is dead"),
        ("tiny", joined(2, 8), "A1 (column) and A7 (column) are joined"),
        ("ulx3s", dead(3), "A2 (column) is dead"),
        ("ulx3s", dead(4), "A3 (column) is dead"),
        ("ulx3s", joined(3, 8), "A2 (column) and A7 (column) are joined"),
        ("ulx3s", joined(3, 4), "A2 (column) and A3 (column) are joined"),
        ("ulx3s", exchanged(1, 7, burst=4), "A1 (column) and A7 (column) are exchanged"),
    ],
)
def test_low_line_of_the_address_is_named(config, place, fault):
    """The lines right above those that count inside of a burst, and one of those."""
    config = preset(config)
    board = FakeBoard(config, memory=FakeMemory(SIZE, place=place))
    found = outcomes(board, [4], expected=settings(config=config))[4]
    assert found.fault == f"address bus: {fault}"


def test_fading_rows_are_not_taken_for_bad_cells():
    """The march takes so long that rows fade in it."""
    memory = FakeMemory(SIZE, retention=0.02)
    expected = settings(march_bytes=1 << 19, wait_ms=40)
    board = FakeBoard(CONFIG, memory=memory)
    fault = fault_of(4, board, expected=expected)
    assert fault == "refresh: rows lose their data within 40 ms"


@pytest.mark.parametrize(("at", "line"), [(300, "D2"), (301, "D10")])
def test_bad_cell_is_named(at, line):
    class Memory(FakeMemory):
        def read(self, addr, count):
            data = bytearray(super().read(addr, count))
            if addr <= at < addr + count:
                data[at - addr] &= ~4
            return bytes(data)

    fault = fault_of(4, FakeBoard(CONFIG, memory=Memory(SIZE)))
    assert fault == f"cells: 1 bytes are wrong, on {line}, in 1 cells"


def test_column_of_the_array_is_named():
    board = FakeBoard(CONFIG)

    def spoil(key, parts):
        parts["v"][:, 2 :: CONFIG.cols] ^= 1

    board.spoil_cache = spoil
    assert fault_of(5, board) == "array: wrong sums in column 2 of 4 only"


def test_wrong_products_are_named():
    board = FakeBoard(CONFIG)
    board.spoil_candidates = lambda key, found: [(t, logit ^ 1) for t, logit in found]
    assert fault_of(5, board) == "array: other bits than golden"


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("logits", "embed, norm, linear to logits"),
        ("qkv", "rope, linear to qkv"),
        ("attention", "attention, linear to residual"),
        ("glu", "linear to glu"),
        ("rich", "embed of positions, head norm"),
    ],
)
def test_operator_is_named(key, name):
    board = FakeBoard(CONFIG)

    def spoil(at, found):
        return [(t, logit ^ 1) for t, logit in found] if at == key else found

    board.spoil_candidates = spoil
    assert fault_of(6, board) == f"{name}: other bits than golden"


def test_wrong_keys_of_a_layer_are_named():
    board = FakeBoard(CONFIG)

    def spoil(key, parts):
        parts["k"][3, 0] ^= 1

    board.spoil_cache = spoil
    found = outcomes(board, [7])[7]
    assert found.fault == "one layer: other bits than golden"
    assert "k head 0 element 0 of position 3" in found.expected


def test_wrong_tokens_are_named():
    board = FakeBoard(CONFIG, [tokens()])
    board.spoil_candidates = lambda key, found: found[::-1]
    assert fault_of(8, board) == "tokens of model random: other bits than golden"


def test_image_that_the_memory_cannot_hold_is_named():
    board = FakeBoard(CONFIG, [tokens()], memory=FakeMemory(1 << 16))
    assert fault_of(8, board) == "the image is larger than the board's memory"


def test_counters_that_stand_still_are_named():
    board = FakeBoard(CONFIG, [tokens()])
    board.register_value = lambda name, value: value if name else 0
    assert fault_of(9, board) == "counter tokens is wrong"


def test_cable_pulled_in_a_load_is_named_and_the_board_answers_again():
    board = FakeBoard(CONFIG, [tokens()])
    found = outcomes(board, [6, 7], line=FakeLine(board, breaks_after=20_000))
    assert found[6].fault == "the port is gone"
    assert found[7].verdict == "NOT RUN"
    assert outcomes(board, [1, 6])[6].verdict == "PASS"


def test_error_of_the_memory_port_is_named():
    board = FakeBoard(CONFIG)
    board._carry_out = lambda name, *rest: ("timeout", b"")
    assert fault_of(4, board) == "the board answers timeout"


def test_random_data_follows_the_seed():
    one, other = (Target(None, replace(settings(), seed=seed)) for seed in (1, 2))
    assert one.random(3).bytes(8) == Target(None, settings()).random(3).bytes(8)
    assert one.random(3).bytes(8) != other.random(3).bytes(8)
