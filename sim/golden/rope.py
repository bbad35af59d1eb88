"""Rotary position embedding on interleaved pairs."""

import numpy as np

from hw.spec.formats import HEAD_WIDTH, ROPE_FRACTION

from .fixed import round_shift, saturate

__all__ = ["rope"]


def rope(x, table, on_clip=None):
    """Rotate the pairs (2i, 2i + 1) of each head.

    Parameters
    ----------
    x : (rows, heads, head_dim)
    table : int16 (rows, head_dim // 2, 2)
        Cosine and sine at each row's position.
    """
    pairs = x.reshape(*x.shape[:-1], -1, 2)
    a, b = pairs[..., 0], pairs[..., 1]
    table = table.astype(np.int64)[:, None]
    cos, sin = table[..., 0], table[..., 1]
    rotated = np.stack((a * cos - b * sin, a * sin + b * cos), axis=-1).reshape(x.shape)
    return saturate(round_shift(rotated, ROPE_FRACTION), HEAD_WIDTH, on_clip)
