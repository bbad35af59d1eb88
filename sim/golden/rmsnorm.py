"""RMSNorm with an integer reciprocal square root."""

from math import isqrt

import numpy as np

from hw.spec.formats import NORM_WIDTH

from .fixed import bit_length, or_magnitude, round_shift, saturate

__all__ = [
    "INPUT_WIDTH",
    "ROOT_SCALE",
    "UNIT_FRACTION",
    "UNIT_WIDTH",
    "reciprocal_root",
    "rms_norm",
]

INPUT_WIDTH = 16  #: an element after the vector was shifted to its largest element: signed
ROOT_SCALE = 46  #: the root R is the largest with R * R * u <= 2**46
UNIT_FRACTION = 17  #: fraction bits of x / |x|
UNIT_WIDTH = 19  #: x / |x|: signed


def reciprocal_root(total):
    """Return (R, half) with ``R / 2**(23 + half)`` about ``1 / sqrt(total)``.

    R has 17 bits, from 2**15 to 2**16. ``total`` has one positive element for each row.
    """
    shift = bit_length(total) - 16
    shift += shift & 1
    normal = np.where(shift >= 0, total >> np.maximum(shift, 0), total << np.maximum(-shift, 0))
    root = [isqrt((1 << ROOT_SCALE) // u) for u in normal.tolist()]
    return np.array(root, dtype=np.int64), shift >> 1


def rms_norm(x, gain, shift, epsilon, width=NORM_WIDTH):
    """Normalise each row of a residual (rows, dim), or each head of q or k, to unit mean square.

    Parameters
    ----------
    gain : int16 (dim,)
    shift : int
        Fraction bits to drop from the product with ``gain``.
    epsilon : int
        Added to the sum of squares, in squares of the unit of ``x``.
    width : int
        Width of a result, in bits.
    """
    x = np.asarray(x, dtype=np.int64)
    down = np.maximum(bit_length(or_magnitude(x)) - (INPUT_WIDTH - 1), 0)
    xs = saturate(round_shift(x, down[:, None]), INPUT_WIDTH)
    total = np.maximum((xs * xs).sum(axis=-1) + (epsilon >> (2 * down)), 1)
    root, half = reciprocal_root(total)
    # xs / sqrt(total) with UNIT_FRACTION bits; half is -7 at least, so this shift may be negative.
    drop = ROOT_SCALE // 2 - UNIT_FRACTION + half
    unit = xs * root[:, None] << np.maximum(-drop, 0)[:, None]
    unit = saturate(round_shift(unit, np.maximum(drop, 0)[:, None]), UNIT_WIDTH)
    return saturate(round_shift(unit * gain.astype(np.int64), shift), width)
