from fractions import Fraction
from math import floor

import numpy as np
import pytest

from sim.golden.fixed import bit_length, or_magnitude, round_shift, saturate

EDGES = [0, 1, 2, 3, 5, 127, 128, (1 << 17) - 1, 1 << 17, (1 << 47) - 1]


def exact(x, shift):
    return floor(Fraction(x) / Fraction(2) ** shift + Fraction(1, 2))


@pytest.mark.parametrize("shift", [-3, -1, 0, 1, 2, 3, 17, 47])
def test_round_shift_rounds_halves_up(shift):
    values = [*range(-20, 21), *EDGES, *(-edge for edge in EDGES)]
    assert round_shift(values, shift).tolist() == [exact(x, shift) for x in values]


def test_round_shift_takes_a_shift_for_each_element():
    values = np.arange(-40, 41)
    shifts = np.arange(81) % 7
    expected = [exact(int(x), int(s)) for x, s in zip(values, shifts, strict=True)]
    assert round_shift(values, shifts).tolist() == expected
    assert round_shift(values, shifts.astype(np.uint8)).tolist() == expected


def test_saturate_is_symmetric_and_reports_what_it_clipped():
    clipped = []
    values = [-129, -128, -127, -1, 0, 127, 128]
    assert saturate(values, 8, clipped.append).tolist() == [-127, -127, -127, -1, 0, 127, 127]
    assert clipped == [3]
    saturate([-127, 127], 8, clipped.append)
    assert clipped == [3]


def test_bit_length_is_that_of_python():
    values = [0] + [v for n in range(62) for v in (2**n, 2**n + 1, 2 ** (n + 1) - 1)]
    assert bit_length(values).tolist() == [v.bit_length() for v in values]


def test_or_magnitude_has_the_bits_that_an_element_needs_beside_its_sign():
    assert or_magnitude([[0, 0], [5, 2], [-1, 0], [-8, 0], [-9, 16]]).tolist() == [0, 7, 0, 7, 24]
