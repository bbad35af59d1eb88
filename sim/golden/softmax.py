"""Softmax in base 2, without its division."""

import numpy as np

from hw.spec.formats import EXP_LUT_LEN, SCORE_FRACTION
from hw.spec.tables import exp_table

from .fixed import round_shift

__all__ = ["LAST_OCTAVE", "MASKED", "softmax"]

LAST_OCTAVE = 14  #: scores 15 octaves or more below the largest have probability 0
MASKED = -(1 << 40)  #: score of a position that a row does not see

_EXP = np.array(exp_table(), dtype=np.int64)


def softmax(scores):
    """Return unnormalised probabilities along the last axis, and their sums.

    ``scores`` have 8 fraction bits; those that a row does not see are `MASKED`.
    """
    depth = scores.max(axis=-1, keepdims=True) - scores
    octave = depth >> SCORE_FRACTION
    seen = octave <= LAST_OCTAVE
    shifted = round_shift(_EXP[depth & (EXP_LUT_LEN - 1)], np.where(seen, octave, 0))
    probs = np.where(seen, shifted, 0)
    return probs, probs.sum(axis=-1)
