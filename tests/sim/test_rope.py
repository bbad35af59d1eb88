import numpy as np

from sim.golden.rope import rope
from tests.sim import slow_model


def test_rope_equals_plain_python_integers():
    rng = np.random.default_rng(1)
    top = (1 << 17) - 1
    x = rng.integers(-top, top + 1, (5, 3, 64))
    x[0], x[1] = top, -top
    angles = rng.uniform(0, 7, (5, 32))
    angles[0], angles[1, :8], angles[1, 8:] = 0, np.pi / 2, np.pi / 4
    table = np.rint(np.stack((np.cos(angles), np.sin(angles)), -1) * (1 << 14)).astype(np.int16)
    clipped = []
    got = rope(x, table, clipped.append)
    for row in range(5):
        for head in range(3):
            expected = slow_model.rope(x[row, head].tolist(), table[row])
            assert got[row, head].tolist() == expected
    assert clipped  # a vector of two large elements can turn out of range


def test_an_angle_of_zero_changes_nothing():
    x = np.arange(-32, 32).reshape(1, 2, 32)
    table = np.full((1, 16, 2), (1 << 14, 0), dtype=np.int16)
    assert np.array_equal(rope(x, table), x)


def test_a_right_angle_turns_each_pair():
    x = np.arange(32).reshape(1, 1, 32)
    table = np.full((1, 16, 2), (0, 1 << 14), dtype=np.int16)
    got = rope(x, table).reshape(16, 2)
    assert np.array_equal(got, np.stack((-x.reshape(16, 2)[:, 1], x.reshape(16, 2)[:, 0]), -1))
