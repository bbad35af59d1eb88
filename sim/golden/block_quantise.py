"""Blocks of INT8 elements that share a power of two."""

import numpy as np

from hw.spec.formats import ACT_WIDTH, BLOCK_LEN

from .fixed import bit_length, or_magnitude, round_shift, saturate

__all__ = ["block_quantise"]


def block_quantise(v):
    """Quantise blocks of 32 along the last axis.

    Returns
    -------
    values : int8 (..., length)
    exponents : uint8 (..., length // 32)
        An element stands for ``values << exponents``.
    """
    v = np.asarray(v, dtype=np.int64)
    blocks = v.reshape(*v.shape[:-1], -1, BLOCK_LEN)
    exponents = np.maximum(bit_length(or_magnitude(blocks)) - (ACT_WIDTH - 1), 0)
    values = saturate(round_shift(blocks, exponents[..., None]), ACT_WIDTH)
    return values.astype(np.int8).reshape(v.shape), exponents.astype(np.uint8)
