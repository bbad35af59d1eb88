from fractions import Fraction
from functools import cache
from itertools import pairwise
from math import erf, exp, floor, pi, sqrt, tanh

import numpy as np
import pytest

from hw.spec.formats import HEAD_WIDTH
from hw.spec.tables import (
    ACTIVATION_STEP_BITS,
    ACTIVATIONS,
    MAX_TABLE_SHIFT,
    SIG_ONE,
    activation_table,
)
from sim.golden.activation import activate, gate_factor

TOP = (1 << (HEAD_WIDTH - 1)) - 1
STEPS = {"silu": 16, "gelu": 32, "gelu_tanh": 32, "relu": 32}
SHIFTS = [0, 1, 5, 8, 9, 13, MAX_TABLE_SHIFT]

REAL = {
    "silu": lambda x: 1 / (1 + exp(-x)),
    "gelu": lambda x: (1 + erf(x / sqrt(2))) / 2,
    "gelu_tanh": lambda x: (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x**3))) / 2,
    "relu": lambda x: float(x >= 0),
}


@cache
def exact_table(name):
    return [floor(32768 * REAL[name](i / STEPS[name]) + 0.5) for i in range(257)]


def exact_factor(x, name, shift):
    """Return the factor of one number from a straight line between two entries."""
    table = exact_table(name)
    place = Fraction(abs(x), 2**shift)
    index = floor(place)
    if index >= 256:
        factor = 32768
    else:
        factor = table[index] + floor((table[index + 1] - table[index]) * (place - index))
    return 32768 - factor if x < 0 else factor


def rounded(x, shift):
    return floor(Fraction(x, 2**shift) + Fraction(1, 2))


def gates(name, shift):
    """Return both ends of the range and of the table, every step's ends, and random gates."""
    rng = np.random.default_rng(shift)
    ends = np.arange(257)[:, None] * (1 << shift) + np.arange(-1, 2)
    edge = min(256 << shift, TOP)
    x = np.concatenate((
        [0, 1, TOP, edge],
        ends[:: 1 + (shift > 9)].ravel(),
        np.arange(300),
        rng.integers(0, edge + 1, 500),
    ))
    x = np.clip(x, -TOP, TOP)
    return np.concatenate((x, -x, [-TOP - 1]))


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_table_holds_rounded_gates(name):
    table = activation_table(name)
    exact = [32768 * REAL[name](i / STEPS[name]) for i in range(257)]
    # Floats settle how an entry rounds unless it lies within their error of a tie.
    assert min(abs(value % 1 - 0.5) for value in exact) > 1e-6
    assert table == [floor(value + 0.5) for value in exact]
    assert 1 << ACTIVATION_STEP_BITS[name] == STEPS[name]


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_table_rises_to_one_in_steps_of_ten_bits(name):
    table = activation_table(name)
    assert len(table) == 257
    assert table[0] == (SIG_ONE if name == "relu" else SIG_ONE // 2)
    assert table[-1] == SIG_ONE
    assert all(0 <= high - low < 1 << 10 for low, high in pairwise(table))


def test_table_must_be_one_of_the_activations():
    with pytest.raises(
        ValueError, match="activation must be one of silu, gelu, gelu_tanh, relu, not 'swish'"
    ):
        activation_table("swish")


@pytest.mark.parametrize("shift", SHIFTS)
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_factor_equals_plain_python_fractions(name, shift):
    x = gates(name, shift)
    got = gate_factor(x, name, shift)
    assert got.tolist() == [exact_factor(int(g), name, shift) for g in x]


@pytest.mark.parametrize("shift", SHIFTS)
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_factor_is_close_to_the_function(name, shift):
    x = gates(name, shift)
    real = [REAL[name](max(-30.0, int(g) / (STEPS[name] << shift))) for g in x]
    assert np.abs(gate_factor(x, name, shift) / SIG_ONE - real).max() < 1e-4


@pytest.mark.parametrize("shift", SHIFTS)
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation_is_no_larger_than_its_gate(name, shift):
    x = gates(name, shift)
    assert (np.abs(activate(x, None, name, shift, 0)) <= np.abs(x)).all()


@pytest.mark.parametrize("shift", [0, 1, 6, 16])
@pytest.mark.parametrize("gated", [False, True])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activate_equals_plain_python_fractions(name, gated, shift):
    rng = np.random.default_rng(shift)
    gate = np.concatenate(([TOP, TOP, -TOP, -TOP, 0, 1], rng.integers(-TOP, TOP + 1, 300) >> 4))
    up = np.concatenate(([TOP, -TOP, TOP, -TOP, TOP, 1], rng.integers(-TOP, TOP + 1, 300) >> 3))
    expected = []
    for g, u in zip(gate.tolist(), up.tolist(), strict=True):
        product = rounded(g * exact_factor(g, name, 7), 15) * (u if gated else 1)
        expected.append(max(1 - 2**23, min(2**23 - 1, rounded(product, shift))))
    assert activate(gate, up if gated else None, name, 7, shift).tolist() == expected


@pytest.mark.parametrize("shift", SHIFTS)
def test_relu_keeps_what_is_positive_and_nothing_else(shift):
    x = gates("relu", shift)
    assert activate(x, None, "relu", shift, 0).tolist() == np.maximum(x, 0).tolist()


def test_activate_says_what_it_clipped():
    clipped = []
    gate, up = np.array([TOP, TOP, 0]), np.array([TOP, -TOP, TOP])
    activate(gate, up, "silu", 7, 0, clipped.append)
    assert clipped == [2]


def test_activation_must_be_known():
    with pytest.raises(
        ValueError, match="activation must be one of silu, gelu, gelu_tanh, relu, not 'swish'"
    ):
        activate(np.zeros(1), None, "swish", 0, 0)


@pytest.mark.parametrize("shift", [-1, MAX_TABLE_SHIFT + 1])
def test_table_shift_must_leave_something_of_the_gate(shift):
    with pytest.raises(ValueError, match=f"table_shift must be 0 to 17, not {shift}"):
        activate(np.zeros(1), None, "silu", shift, 0)
