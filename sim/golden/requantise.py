"""From an exact accumulator to a number of the next unit's width."""

import numpy as np

from .fixed import round_shift, saturate

__all__ = ["requantise"]


def requantise(acc, multiplier, shift1, shift2, width, bias=None, on_clip=None):
    """Return ``SAT(RSH(RSH(acc, shift1) * multiplier, shift2) + bias, width)``.

    ``multiplier`` and ``bias`` have one element for each output channel, the last axis.
    """
    scaled = round_shift(acc, shift1) * np.asarray(multiplier, dtype=np.int64)
    result = round_shift(scaled, shift2)
    if bias is not None:
        result = result + np.asarray(bias, dtype=np.int64)
    return saturate(result, width, on_clip)
