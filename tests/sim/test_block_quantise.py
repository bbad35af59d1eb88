from fractions import Fraction

import numpy as np
import pytest

from sim.golden.block_quantise import block_quantise
from tests.sim.test_fixed import exact


def smallest_exponent(block):
    """The least e with every -2**7 <= x / 2**e < 2**7."""
    e = 0
    while not all(-128 <= Fraction(x, 2**e) < 128 for x in block):
        e += 1
    return e


@pytest.mark.parametrize("width", [4, 8, 18, 20, 24])
def test_blocks_are_rounded_to_eight_bits(width):
    rng = np.random.default_rng(width)
    top = (1 << (width - 1)) - 1
    blocks = rng.integers(-top, top + 1, (40, 32)) >> rng.integers(0, width, (40, 1))
    blocks[0], blocks[1], blocks[2] = 0, top, -top
    values, exponents = block_quantise(blocks.reshape(10, 128))
    assert (values.shape, values.dtype) == ((10, 128), np.int8)
    assert (exponents.shape, exponents.dtype) == ((10, 4), np.uint8)
    pairs = zip(values.reshape(40, 32).tolist(), exponents.ravel().tolist(), strict=True)
    for block, (q, e) in zip(blocks.tolist(), pairs, strict=True):
        assert e == smallest_exponent(block)
        assert q == [max(-127, min(127, exact(x, e))) for x in block]


@pytest.mark.parametrize(
    ("largest", "value", "exponent"),
    [
        (127, 127, 0),
        (-127, -127, 0),
        (-128, -127, 0),  # fits 8 bits, but the format is symmetric
        (128, 64, 1),
        (255, 127, 1),  # rounds to 128
        (-256, -127, 1),
        (-257, -64, 2),
        ((1 << 23) - 1, 127, 16),
    ],
)
def test_ends_of_an_octave(largest, value, exponent):
    values, exponents = block_quantise([largest] + [0] * 31)
    assert (values[0], exponents[0]) == (value, exponent)
