from fractions import Fraction
from math import floor

import numpy as np

from hw.spec.tables import exp_table
from sim.golden.softmax import MASKED, softmax
from tests.sim.slow_model import EXP


def test_exp_table_holds_rounded_powers_of_two():
    table = exp_table()
    assert table == EXP
    assert (table[0], table[128], table[255]) == (16383, 11585, 8214)
    # round(y) = n, for y = 2**14 * 2**(-f/256), without a float: (n -+ 1/2)**256 around y**256.
    for f in range(1, 256):
        exact = Fraction(2) ** (14 * 256 - f)
        assert (table[f] - Fraction(1, 2)) ** 256 < exact < (table[f] + Fraction(1, 2)) ** 256


def test_every_distance_from_the_largest_score():
    scores = -np.arange(0, 16 * 256 + 3)
    probs, total = softmax(scores[None] + 1000)
    expected = [
        floor(Fraction(EXP[d % 256], 2 ** (d // 256)) + Fraction(1, 2)) if d // 256 < 15 else 0
        for d in range(len(scores))
    ]
    assert probs[0].tolist() == expected
    assert total.tolist() == [sum(expected)]


def test_ends_of_the_range_and_masked_positions():
    top = (1 << 23) - 1
    scores = [[-top, top, MASKED], [-top, -top, MASKED], [-top, MASKED, MASKED]]
    probs, total = softmax(np.array(scores))
    assert probs.tolist() == [[0, 16383, 0], [16383, 16383, 0], [16383, 0, 0]]
    assert total.tolist() == [16383, 32766, 16383]
