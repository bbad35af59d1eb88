"""Fixed-point primitives: the rounding and the saturation that every unit uses."""

import numpy as np

__all__ = ["bit_length", "or_magnitude", "round_shift", "saturate"]


def round_shift(x, shift):
    """Divide by ``2**shift``, rounding halves towards plus infinity: the only rounding there is.

    A negative shift multiplies. ``shift`` may be an array of non-negative shifts.
    """
    x = np.asarray(x, dtype=np.int64)
    if isinstance(shift, np.ndarray):
        shift = shift.astype(np.int64)
        return (x + ((np.int64(1) << shift) >> 1)) >> shift
    if shift > 0:
        return (x + (1 << (shift - 1))) >> shift
    return x << -shift


def saturate(x, width, on_clip=None):
    """Clamp to the symmetric range of a signed number of ``width`` bits.

    ``on_clip`` is called with the number of elements that changed, if there are any.
    """
    limit = (1 << (width - 1)) - 1
    clipped = np.clip(x, -limit, limit)
    if on_clip is not None:
        count = np.count_nonzero(clipped != x)
        if count:
            on_clip(count)
    return clipped


def bit_length(n):
    """Return the bits needed for each n >= 0; 0 needs none."""
    n = np.asarray(n, dtype=np.int64)
    high = n >> 32
    low_bits = np.frexp((n & 0xFFFFFFFF).astype(np.float64))[1]
    if not high.any():
        return low_bits.astype(np.int64)
    return np.where(high > 0, 32 + np.frexp(high.astype(np.float64))[1], low_bits).astype(np.int64)


def or_magnitude(v):
    """Return the OR over the last axis of v, or of its complement where it is negative."""
    v = np.asarray(v, dtype=np.int64)
    return np.bitwise_or.reduce(v ^ (v >> 63), axis=-1)
