from fractions import Fraction

import numpy as np
import pytest

from sim.golden.attention import attend, normalise, reciprocal
from tests.sim import slow_model


def random_blocks(rng, *shape, top_exponent):
    values = rng.integers(-127, 128, shape).astype(np.int8)
    exponents = rng.integers(0, top_exponent + 1, (*shape[:-1], shape[-1] // 32))
    return values, exponents.astype(np.uint8)


def as_blocks(values, exponents):
    """A head vector in the form of the slow model."""
    parts = np.split(values, len(exponents))
    return [(int(e), part.tolist()) for e, part in zip(exponents, parts, strict=True)]


@pytest.mark.parametrize("shift", [0, 8, 12, 26])
@pytest.mark.parametrize("group", [1, 3])
@pytest.mark.parametrize("head_dim", [32, 64])
@pytest.mark.parametrize("start", [0, 5, 37])
def test_attention_equals_plain_python_integers(start, head_dim, group, shift):
    rng = np.random.default_rng(start * 100 + head_dim + group + shift)
    rows, kv_heads = 3, 2
    positions = start + rows
    top = 11 if shift > 12 else 4
    q = random_blocks(rng, rows, kv_heads * group, head_dim, top_exponent=top)
    k = random_blocks(rng, kv_heads, positions, head_dim, top_exponent=top)
    v = random_blocks(rng, kv_heads, positions, head_dim, top_exponent=11)
    v[1][:, : positions // 2] //= 3  # the largest exponent comes late: it must not be seen early
    got = attend(*q, *k, *v, start, shift)
    for row in range(rows):
        expected = []
        for head in range(kv_heads * group):
            j = head // group
            seen = range(start + row + 1)
            expected += slow_model.attend(
                as_blocks(q[0][row, head], q[1][row, head]),
                [as_blocks(k[0][j, t], k[1][j, t]) for t in seen],
                [as_blocks(v[0][j, t], v[1][j, t]) for t in seen],
                shift,
            )
        assert got[row].tolist() == expected


SUMS = [16383, 16384, 32767, 32768, 65535, 65536, 65537, 8192 * 16383]


def test_reciprocal_is_that_of_the_sixteen_leading_bits():
    multipliers, shifts1, shifts2 = (part.tolist() for part in reciprocal(np.array(SUMS)))
    for total, m, shift1, shift2 in zip(SUMS, multipliers, shifts1, shifts2, strict=True):
        leading = Fraction(total, 2 ** max(shift1, 0)).__floor__() << (31 - shift2)
        assert 2**15 <= leading < 2**16
        assert m == 2**31 // leading
        assert m <= 1 << 16


@pytest.mark.parametrize("total", SUMS)
def test_normalise_divides(total):
    values = np.array([[-127, -1, 0, 1, 63, 127]])
    for exponent in (0, 10):
        got = normalise(values * total << exponent, np.array([total]))
        assert np.abs(got - (values << exponent)).max() <= max(1, 127 * 2**exponent >> 14)


def test_normalise_saturates_and_says_so():
    clipped = []
    acc = np.array([[(1 << 17) * 16384, -(1 << 17) * 16384, 0]])
    top = (1 << 17) - 1
    assert normalise(acc, np.array([16383]), clipped.append).tolist() == [[top, -top, 0]]
    assert clipped == [2]
