"""The exact dot products of the array and its accumulators."""

import numpy as np

from hw.spec.formats import BLOCK_LEN

__all__ = ["as_operand", "dot", "scaled"]

# float64 multiplies and adds integers exactly while every sum stays below 2**53 (an accumulator
# has 48 bits), in any order, and is the fastest integer multiplier that numpy has.


def scaled(values, exponents):
    """Return ``values << exponents`` of blocks along the last axis, in float64."""
    blocks = values.reshape(*exponents.shape, BLOCK_LEN) * np.ldexp(1.0, exponents)[..., None]
    return blocks.reshape(values.shape)


def as_operand(weight):
    """Return INT8 weights in the form in which `dot` multiplies fastest."""
    return weight.astype(np.float64)


def dot(values, exponents, weight):
    """Return the exact sum over blocks of ``(values . weight) << exponent``, as int64.

    Parameters
    ----------
    values, exponents : int8 (rows, length), uint8 (rows, length // 32)
        Quantised blocks.
    weight : (outputs, length)
        INT8 as such, or as `as_operand` returned it.
    """
    x = scaled(values, exponents)
    if weight.dtype == np.float64:
        return (x @ weight.T).astype(np.int64)
    # Convert a slice at a time: a whole matrix of a large model would not fit the cache.
    step = max(1, (1 << 17) // weight.shape[1])
    result = np.empty((x.shape[0], weight.shape[0]), dtype=np.int64)
    for start in range(0, weight.shape[0], step):
        result[:, start : start + step] = x @ weight[start : start + step].astype(np.float64).T
    return result
