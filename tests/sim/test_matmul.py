import random

import numpy as np
import pytest

from sim.golden.matmul import as_operand, dot


def plain(values, exponents, weight):
    def element(row, ws):
        terms = enumerate(zip(values[row], ws, strict=True))
        return sum(x * w << exponents[row][i // 32] for i, (x, w) in terms)

    return [[element(row, ws) for ws in weight] for row in range(len(values))]


@pytest.mark.parametrize("form", [np.asarray, as_operand], ids=["int8", "operand"])
def test_dot_is_exact(form):
    rng = random.Random(1)
    values = [[rng.randint(-127, 127) for _ in range(96)] for _ in range(3)]
    weight = [[rng.randint(-127, 127) for _ in range(96)] for _ in range(5)]
    exponents = [[0, 16, 3], [16, 0, 16], [1, 2, 3]]
    got = dot(np.int8(values), np.uint8(exponents), form(np.int8(weight)))
    assert got.dtype == np.int64
    assert got.tolist() == plain(values, exponents, weight)


@pytest.mark.parametrize("form", [np.asarray, as_operand], ids=["int8", "operand"])
def test_dot_is_exact_where_the_accumulator_is_fullest(form):
    length = 65536
    values = np.full((1, length), 127, dtype=np.int8)
    weight = np.full((3, length), -127, dtype=np.int8)
    values[0, 0] = 126  # an odd last bit, which float64 would drop above 2**53
    exponents = np.full((1, length // 32), 17, dtype=np.uint8)
    exponents[0, 0] = 0
    expected = -127 * (126 + 31 * 127) - 127 * 127 * (length - 32) * 2**17
    assert abs(expected) < 1 << 47
    assert dot(values, exponents, form(weight)).tolist() == [[expected] * 3]
