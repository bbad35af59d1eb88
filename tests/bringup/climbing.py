"""What tests of the ladder share: settings of a small board, and its climb."""

from functools import cache

from hw.spec.presets import preset
from sim.bringup.ladder import climb
from sim.bringup.programs import token_model
from sim.bringup.target import Settings, Target
from sim.compiler.compile import compile_model
from tests.bringup.fake_board import FakeBoard, FakeLine

__all__ = ["ALL", "CONFIG", "SIZE", "fault_of", "outcomes", "settings", "tokens"]

CONFIG = preset("tiny")
SIZE = 1 << 20
ALL = range(1, 10)


@cache
def tokens():
    model = token_model()
    return model, compile_model(model, CONFIG)


def settings(**changes):
    model, compiled = tokens()
    return Settings(**{
        "board": "ulx3s", "config": CONFIG, "model_name": "random", "model": model,
        "compiled": compiled, "prompt": (5, 17, 3), "tokens": 3, "timeout": 0.05, "wait_ms": 2,
        "march_bytes": 1024,
    } | changes)  # fmt: skip


def outcomes(board=None, numbers=ALL, *, line=None, expected=None):
    board = board or FakeBoard(CONFIG, [tokens()])
    line = line or FakeLine(board)
    target = Target(lambda baud: line, expected or settings())
    return {outcome.number: outcome for outcome in climb(target, numbers)}


def fault_of(number, board=None, **options):
    found = outcomes(board, [number], **options)[number]
    assert found.verdict == "FAIL"
    assert found.expected
    assert found.got
    assert found.look
    return found.fault
