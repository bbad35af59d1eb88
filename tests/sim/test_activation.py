from math import exp

import numpy as np
import pytest

from hw.spec.tables import sig_table
from sim.golden.activation import sigmoid, swiglu
from tests.sim import slow_model

TOP = (1 << 17) - 1


def test_sig_table_holds_rounded_sigmoids():
    table = sig_table()
    assert table == slow_model.SIG
    assert (table[0], table[16], table[256]) == (16384, 23955, 32768)


@pytest.mark.parametrize("fraction", [4, 5, 9, 13, 14, 17])
def test_sigmoid_equals_plain_python_integers(fraction):
    rng = np.random.default_rng(fraction)
    edge = min(16 << fraction, TOP)
    x = np.concatenate((
        [0, 1, -1, TOP, -TOP, edge, edge - 1, 1 - edge, -edge],
        np.arange(-300, 300),
        rng.integers(-edge, edge + 1, 500),
    ))
    got = sigmoid(x, fraction)
    assert got.tolist() == [slow_model.sigmoid(int(g), fraction) for g in x]
    real = [1 / (1 + exp(min(99, -int(g) / 2**fraction))) for g in x]
    assert np.abs(got / 32768 - real).max() < 1e-4


@pytest.mark.parametrize("shift", [0, 1, 6, 16])
def test_swiglu_equals_plain_python_integers(shift):
    rng = np.random.default_rng(shift)
    gate = np.concatenate(([TOP, TOP, -TOP, -TOP, 0, 1], rng.integers(-TOP, TOP + 1, 300) >> 4))
    up = np.concatenate(([TOP, -TOP, TOP, -TOP, TOP, 1], rng.integers(-TOP, TOP + 1, 300) >> 3))
    expected = []
    for g, u in zip(gate.tolist(), up.tolist(), strict=True):
        silu = slow_model.rsh(g * slow_model.sigmoid(g, 11), 15)
        expected.append(slow_model.sat(slow_model.rsh(silu * u, shift), 24))
    assert swiglu(gate, up, 11, shift).tolist() == expected


def test_swiglu_says_what_it_clipped():
    clipped = []
    swiglu([TOP, TOP, 0], [TOP, -TOP, TOP], 11, 0, clipped.append)
    assert clipped == [2]
