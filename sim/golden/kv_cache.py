"""Keys and values of one sequence, quantised."""

import numpy as np

from hw.spec.formats import BLOCK_LEN

__all__ = ["KvCache"]


class KvCache:
    """The KV cache of one sequence: all there is to know of its past.

    Parameters
    ----------
    shape : ModelShape

    Attributes
    ----------
    k, v : int8 (layers, kv_heads, context, head_dim)
    k_exponents, v_exponents : uint8 (layers, kv_heads, context, head_dim // 32)
    length : int
        Positions filled; the next token's position.
    """

    def __init__(self, shape):
        values = (shape.layers, shape.kv_heads, shape.context, shape.head_dim)
        exponents = (*values[:3], shape.head_dim // BLOCK_LEN)
        self.k = np.zeros(values, dtype=np.int8)
        self.v = np.zeros(values, dtype=np.int8)
        self.k_exponents = np.zeros(exponents, dtype=np.uint8)
        self.v_exponents = np.zeros(exponents, dtype=np.uint8)
        self.length = 0

    def write(self, layer, start, k, k_exponents, v, v_exponents):
        """Store rows of a layer, given as (rows, kv_heads, ...), from position ``start`` on."""
        positions = slice(start, start + k.shape[0])
        self.k[layer, :, positions] = k.swapaxes(0, 1)
        self.v[layer, :, positions] = v.swapaxes(0, 1)
        self.k_exponents[layer, :, positions] = k_exponents.swapaxes(0, 1)
        self.v_exponents[layer, :, positions] = v_exponents.swapaxes(0, 1)

    def read(self, layer, end):
        """Return k, its exponents, v and its exponents of the positions before ``end``."""
        parts = (self.k, self.k_exponents, self.v, self.v_exponents)
        return tuple(part[layer, :, :end] for part in parts)
