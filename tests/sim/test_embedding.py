import numpy as np

from sim.golden.embedding import embed
from sim.golden.residual import add_residual
from tests.sim.test_fixed import exact


def test_embedding_is_scaled_and_rounded():
    rows = np.int8([[-127, -1, 0, 1, 3, 127], [127, 5, -5, 2, -2, 64]])
    multiplier = np.uint16([65535, 32768])
    for shift in (0, 1, 7, 16):
        expected = [
            [exact(x * m, shift) for x in row]
            for row, m in zip(rows.tolist(), multiplier.tolist(), strict=True)
        ]
        assert embed(rows, multiplier, shift).tolist() == expected


def test_residual_saturates_and_says_so():
    top, clipped = (1 << 31) - 1, []
    x, y = np.array([top, -top, top, 5]), np.array([1, -1, -1, -7])
    assert add_residual(x, y, clipped.append).tolist() == [top, -top, top - 1, -2]
    assert clipped == [2]
