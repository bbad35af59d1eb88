from fractions import Fraction

import numpy as np
import pytest

from sim.golden.attention import attend, attention_scores, normalise, reciprocal
from sim.golden.softmax import MASKED
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


def plainly(q, k, v, shift, window):
    """Return one head's output at the last position, in plain Python integers."""
    rsh, sat = slow_model.rsh, slow_model.sat
    seen = range(max(0, len(k) - window), len(k))
    z = {}
    for t in seen:
        total = 0
        for (e_q, values_q), (e_k, values_k) in zip(q, k[t], strict=True):
            total += sum(a * b for a, b in zip(values_q, values_k, strict=True)) << (e_q + e_k)
        z[t] = sat(rsh(total, shift), 24)
    octaves = {t: divmod(max(z.values()) - z[t], 256) for t in seen}
    p = {t: rsh(slow_model.EXP[f], n) if n < 15 else 0 for t, (n, f) in octaves.items()}
    output = []
    for block in range(len(q)):
        top = max(position[block][0] for position in v)  # of all, seen or not
        for element in range(32):
            acc = 0
            for t in seen:
                exponent, values = v[t][block]
                acc += rsh(p[t], top - exponent) * values[element]
            output.append(int(normalise(np.array([acc << top]), np.array(sum(p.values())))[0]))
    return output


@pytest.mark.parametrize("window", [1, 2, 7, 31, 32, 33, 40, 1000])
@pytest.mark.parametrize("start", [0, 5, 37])
def test_a_row_sees_the_positions_of_its_window(start, window):
    rng = np.random.default_rng(start * 100 + window)
    rows, heads, head_dim, shift = 4, 2, 64, 20
    positions = start + rows
    q = random_blocks(rng, rows, heads, head_dim, top_exponent=11)
    k = random_blocks(rng, 1, positions, head_dim, top_exponent=11)
    v = random_blocks(rng, 1, positions, head_dim, top_exponent=6)
    v[1][:, 0] = 11  # the largest exponent counts even where its position is not seen
    got = attend(*q, *k, *v, start, shift, window=window)
    for row in range(rows):
        past = range(start + row + 1)
        keys = [as_blocks(k[0][0, t], k[1][0, t]) for t in past]
        values = [as_blocks(v[0][0, t], v[1][0, t]) for t in past]
        expected = []
        for head in range(heads):
            query = as_blocks(q[0][row, head], q[1][row, head])
            expected += plainly(query, keys, values, shift, window)
        assert got[row].tolist() == expected


@pytest.mark.parametrize("window", [0, 41, 1 << 32])
def test_a_window_of_all_positions_hides_none(window):
    rng = np.random.default_rng(5)
    q = random_blocks(rng, 1, 2, 32, top_exponent=4)
    k = random_blocks(rng, 1, 41, 32, top_exponent=4)
    v = random_blocks(rng, 1, 41, 32, top_exponent=4)
    unlimited = attend(*q, *k, *v, 40, 8)
    assert attend(*q, *k, *v, 40, 8, window=window).tolist() == unlimited.tolist()
    assert attend(*q, *k, *v, 40, 8, window=5).tolist() != unlimited.tolist()


def test_scores_that_are_not_seen_are_masked_and_never_clipped():
    top = np.full((1, 1, 32), 127, dtype=np.int8), np.full((1, 1, 1), 17, dtype=np.uint8)
    k = np.full((1, 5, 32), 127, dtype=np.int8), np.full((1, 5, 1), 17, dtype=np.uint8)
    clipped = []
    scores = attention_scores(*top, *k, 3, 0, clipped.append, window=2)
    most = (1 << 23) - 1
    assert scores.tolist() == [[[[MASKED, MASKED, most, most, MASKED]]]]
    assert clipped == [2]


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
