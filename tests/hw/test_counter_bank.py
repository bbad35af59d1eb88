"""Tests of `hw.counter_bank`."""

import re

import pytest

from hw.counter_bank import CounterBank
from tests.support.runner import run_bench

STEPS = {
    "two": {"a": 1, "b": 3},
    "some": {"a": 1, "b": 16, "c": 1, "d": 4, "e": 1},
    "many": {f"n{index}": 1 + index % 5 for index in range(70)},
}


@pytest.mark.parametrize("name", list(STEPS))
@pytest.mark.parametrize(("width", "cleared"), [(64, 0), (12, 0), (64, (1 << 32) - 20), (64, -20)])
def test_counter_bank(name, width, cleared):
    dut = CounterBank(STEPS[name], width=width, cleared=cleared)
    params = {"steps": STEPS[name], "width": width, "cleared": cleared}
    run_bench(dut, "tests.hw.bench_counter_bank", params=params)


@pytest.mark.parametrize(
    ("steps", "width", "message"),
    [
        ({"a": 1}, 64, "steps must be two positive numbers or more, not {'a': 1}"),
        ({"a": 1, "b": 0}, 64, "steps must be two positive numbers or more, not {'a': 1, 'b': 0}"),
        ({"a": 1, "b": 1}, 0, "width must be positive, not 0"),
    ],
)
def test_refusals(steps, width, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        CounterBank(steps, width=width)
