import random

import pytest

from sim.golden.requantise import requantise
from tests.sim.test_fixed import exact


@pytest.mark.parametrize("width", [18, 32])
@pytest.mark.parametrize(("shift1", "shift2"), [(0, 0), (0, 24), (1, 1), (6, 19), (17, 47)])
def test_requantise_rounds_twice_then_saturates(shift1, shift2, width):
    rng = random.Random(shift1 * 64 + shift2)
    top = (1 << (31 + shift1)) - 1
    acc = [0, 1, -1, top, -top] + [rng.randint(-top, top) >> rng.randrange(32) for _ in range(200)]
    multiplier = [rng.choice([0, 1, 1 << 15, (1 << 16) - 1, rng.randrange(1 << 16)]) for _ in acc]
    bias = [rng.randint(-(1 << width - 2), 1 << width - 2) for _ in acc]
    limit = (1 << (width - 1)) - 1
    rounded = [exact(exact(a, shift1) * m, shift2) for a, m in zip(acc, multiplier, strict=True)]
    assert requantise(acc, multiplier, shift1, shift2, width).tolist() == [
        max(-limit, min(limit, r)) for r in rounded
    ]
    assert requantise(acc, multiplier, shift1, shift2, width, bias).tolist() == [
        max(-limit, min(limit, r + b)) for r, b in zip(rounded, bias, strict=True)
    ]


def test_clipped_results_are_counted():
    clipped = []
    requantise([1 << 17, (1 << 17) - 1, -(1 << 17)], [1, 1, 1], 0, 0, 18, None, clipped.append)
    assert clipped == [2]
