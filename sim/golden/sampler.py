"""Choice of a token: the largest logits, their probabilities, and a number drawn among them."""

from math import floor, log2

import numpy as np

from hw.spec.formats import LOGIT_FRACTION, SCORE_FRACTION
from hw.spec.sampling import (
    MIX_FACTORS,
    MIX_SHIFTS,
    POSITION_OFFSET,
    RANDOM_WIDTH,
    TEMPERATURE_MULTIPLIER_WIDTH,
)

from .fixed import round_shift
from .softmax import softmax

__all__ = [
    "MAX_TEMPERATURE",
    "MIN_TEMPERATURE",
    "probabilities",
    "random_number",
    "sample",
    "temperature_scale",
    "top_candidates",
]

MIN_TEMPERATURE = 1 / 128
MAX_TEMPERATURE = 128

_MASK = (1 << RANDOM_WIDTH) - 1


def temperature_scale(temperature):
    """Return (multiplier, shift) of a temperature, for `probabilities`.

    ``multiplier / 2**shift`` takes a difference of logits to base-2 units with 8 fraction bits;
    the multiplier has all its 16 bits in use, the shift is 16 to 30.

    Raises
    ------
    ValueError
        For a temperature outside of 1/128 to 128.
    """
    if not MIN_TEMPERATURE <= temperature <= MAX_TEMPERATURE:
        raise ValueError(f"temperature must be 1/128 to 128, not {temperature!r}")
    ratio = log2(np.e) / temperature * 2.0 ** (SCORE_FRACTION - LOGIT_FRACTION)
    shift = TEMPERATURE_MULTIPLIER_WIDTH - 1 - floor(log2(ratio))
    multiplier = round(ratio * 2**shift)
    if multiplier >> TEMPERATURE_MULTIPLIER_WIDTH:
        shift -= 1
        multiplier = round(ratio * 2**shift)
    return multiplier, shift


def top_candidates(logits, count):
    """Return (values, indices) of the ``count`` largest logits, the largest first.

    Of equal logits the lowest index comes first. There are fewer where there are fewer logits.
    """
    indices = np.argsort(-np.asarray(logits, dtype=np.int64), kind="stable")[:count]
    return logits[indices], indices


def _mix(x):
    for shift, factor in zip(MIX_SHIFTS, (*MIX_FACTORS, 1), strict=True):
        x = (x ^ (x >> shift)) * factor & _MASK
    return x


def random_number(seed, position):
    """Return the 32-bit number that belongs to a seed and a position, of 32 bits each."""
    return _mix(seed ^ _mix((position + POSITION_OFFSET) & _MASK))


def probabilities(values, multiplier, shift):
    """Return the unnormalised probabilities of logits whose first is the largest.

    ``multiplier`` (16 bits) and ``shift`` (5 bits) are the temperature's, see `temperature_scale`.
    """
    depths = values[0] - values.astype(np.int64)
    probs, _ = softmax(-round_shift(depths * multiplier, shift))
    return probs


def sample(logits, *, top_k, multiplier, shift, seed, position):
    """Return the index of the logit that is drawn from the ``top_k`` largest of a row.

    ``position`` is that of the token which is chosen; the others are as above.
    """
    values, indices = top_candidates(logits, top_k)
    sums = np.cumsum(probabilities(values, multiplier, shift))
    threshold = random_number(seed, position) * int(sums[-1]) >> RANDOM_WIDTH
    return int(indices[np.searchsorted(sums, threshold, side="right")])
