"""The ladder on a chip that is broken: a verdict of each, and no end that does not come."""

import pytest

from hw.spec.csr import IRQ
from hw.spec.requests import EVENT_BYTES
from sim.bringup.programs import PROGRAMS, compiled_for
from sim.compiler.memory_map import EVENTS
from sim.device.event_ring import MOST_IDLE
from tests.bringup.climbing import CONFIG, SIZE, fault_of, outcomes, settings
from tests.bringup.fake_board import FakeBoard, FakeMemory
from tests.sim.fake_chip import FakeChip


class EventMemory(FakeMemory):
    """What is read of the ring of events is as ``spoil(bytes)`` makes it."""

    def __init__(self, spoil):
        super().__init__(SIZE)
        self._spoil = spoil
        memory_map = compiled_for(PROGRAMS["layer"].model, CONFIG).memory_map
        self._ring = memory_map.offset(memory_map.event_ring_addr)

    def read(self, addr, count):
        data = super().read(addr, count)
        return self._spoil(data) if addr == self._ring and count == EVENT_BYTES else data


@pytest.mark.parametrize(
    ("spoil", "got"),
    [
        (lambda data: b"\xff" * len(data), "the kind of an event must be 0 to 3, not 255"),
        (
            lambda data: b"\xff\xff" + data[2:],
            "an event is not of request 0: Event(request_id=65535",
        ),
        (lambda data: data[:12] + b"\3" + data[13:], "request 0 has reported no candidates; its"),
    ],
)
def test_event_that_is_none_is_a_failure(spoil, got):
    board = FakeBoard(CONFIG, memory=EventMemory(spoil))
    found = outcomes(board, [5])[5]
    assert found.fault == "what the chip says makes no sense"
    assert got in found.got
    assert found.look.startswith("rungs 3 and 4")


@pytest.mark.parametrize("value", [0xFFFF_FFFF, EVENTS + 1])
def test_number_of_events_that_cannot_be_is_a_failure(value):
    board = FakeBoard(CONFIG)
    board.register_value = lambda name, at: value if name == "events_written" else at
    found = outcomes(board, [5])[5]
    assert found.fault == "what the chip says makes no sense"
    assert found.got.startswith(f"events_written reads {value} after 0 events were read")


def test_run_without_an_event_is_a_failure():
    board = FakeBoard(CONFIG)
    ends = {"events_written": 0, "irq_status": 1 << IRQ["done"]}
    board.register_value = lambda name, value: ends.get(name, value)
    found = outcomes(board, [5])[5]
    assert found.got == "request 0 has reported no candidates; its last event: None"


def test_interrupt_that_stays_is_a_failure():
    board = FakeBoard(CONFIG)
    stuck = {"events_written": 0, "irq_status": 1 << IRQ["event"]}
    board.register_value = lambda name, value: stuck.get(name, value)
    found = outcomes(board, [5])[5]
    assert found.got == f"{MOST_IDLE + 1} interrupts in a row, and events_written stays 0"


def test_interrupt_that_never_comes_is_a_failure():
    board = FakeBoard(CONFIG)
    board.register_value = lambda name, value: 0 if name == "irq_status" else value
    assert fault_of(5, board, expected=settings(patience=0.1)) == (
        "the chip runs, and nothing comes of it"
    )


def test_events_without_end_are_a_failure(monkeypatch):
    """A chip that says of each token that more will come."""
    monkeypatch.setattr("tests.bringup.fake_board.Chip._ends", lambda *_: None)
    chip_event = FakeChip._event
    monkeypatch.setattr(FakeChip, "_event", lambda chip, request, kind, **values: [
        chip_event(chip, request, "token", **values) for _ in range(5)
    ])  # fmt: skip
    found = outcomes(FakeBoard(CONFIG), [7])[7]
    assert found.got.startswith("an event comes after the last of 3 tokens")
