from fractions import Fraction

import numpy as np
import pytest

from hw.spec.formats import HEAD_WIDTH
from sim.golden.model import Norm
from sim.golden.rmsnorm import reciprocal_root, rms_norm
from tests.sim import slow_model

TOTALS = sorted(
    {1, 2, 3, 4, 1 << 48, (1 << 48) - 1}
    | {t for n in range(1, 48) for t in (2**n - 1, 2**n, 2**n + 1, 3 * 2**n // 2)}
)


def test_reciprocal_root_is_the_largest_that_fits():
    roots, halves = reciprocal_root(np.array(TOTALS))
    for total, root, half in zip(TOTALS, roots.tolist(), halves.tolist(), strict=True):
        exponent = 2 * half
        u = Fraction(total) / Fraction(2) ** exponent
        assert 2**14 <= u < 2**16
        u = u.__floor__()
        assert root * root * u <= 2**46 < (root + 1) ** 2 * u
        assert 2**15 <= root <= 2**16


@pytest.mark.parametrize("bits", [1, 4, 15, 16, 20, 31])
@pytest.mark.parametrize("epsilon", [0, 1, 5_497_558, (1 << 48) - 1])
def test_rms_norm_equals_plain_python_integers(bits, epsilon):
    rng = np.random.default_rng(bits)
    top = (1 << bits) - 1
    x = rng.integers(-top, top + 1, (4, 64))
    x[0], x[1], x[1, 0], x[2, 3:] = top, 0, -1, 0
    gain = rng.integers(-32767, 32768, 64).astype(np.int16)
    gain[:2] = 32767, -32767
    norm = Norm(gain, 13, epsilon)
    expected = [slow_model.rms_norm(row, norm) for row in x.tolist()]
    assert rms_norm(x, gain, 13, epsilon).tolist() == expected


@pytest.mark.parametrize("epsilon", [0, 1, 77_777])
def test_heads_are_cut_off_at_the_width_they_have(epsilon):
    rng = np.random.default_rng(epsilon)
    x = rng.integers(-(1 << 17), 1 << 17, (6, 64))
    gain = rng.integers(-32767, 32768, 64).astype(np.int16)
    x[0], x[0, 5], x[1], gain[5] = 0, -(1 << 17), 1 << 17, 32767
    norm = Norm(gain, 14, epsilon)
    whole = [slow_model.rms_norm(row, norm) for row in x.tolist()]
    high = (1 << 17) - 1
    expected = [[max(-high, min(high, h)) for h in row] for row in whole]
    assert expected != whole
    assert rms_norm(x, gain, 14, epsilon, HEAD_WIDTH).tolist() == expected


def test_rms_norm_of_zeros_is_zero():
    zeros = np.zeros((1, 32), dtype=np.int64)
    assert not rms_norm(zeros, np.full(32, 32767, dtype=np.int16), 12, 0).any()


@pytest.mark.parametrize("scale", [40, 3000, 1 << 20, 1 << 29])
def test_rms_norm_is_close_to_the_real_one(scale):
    rng = np.random.default_rng(scale)
    x = np.clip(rng.standard_normal((8, 128)) * scale, -(2**31) + 1, 2**31 - 1).astype(np.int64)
    gain = rng.integers(1 << 13, 1 << 14, 128).astype(np.int16)
    got = rms_norm(x, gain, 13, 0) / 2.0**4
    real = x / np.sqrt((x.astype(float) ** 2).sum(axis=1, keepdims=True)) * gain
    assert np.abs(got - real).max() < np.abs(real).max() / 5000
