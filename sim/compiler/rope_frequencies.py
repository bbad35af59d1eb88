"""Frequencies of the rotary embedding, and the ways to stretch them to longer contexts.

All are in radians a position, in float64: one for each pair of elements of a head.
"""

from math import isfinite, pi

import numpy as np

__all__ = ["linear_frequencies", "llama3_frequencies", "plain_frequencies", "rope_angles"]


def plain_frequencies(head_dim, theta):
    """Return theta**(-2 i / head_dim) for i = 0 .. head_dim / 2 - 1, as a tuple.

    Raises
    ------
    ValueError
        A theta that is not a positive finite number.
    """
    _check("rope_theta", theta)
    return tuple(float(theta) ** (-2 * i / head_dim) for i in range(head_dim // 2))


def linear_frequencies(frequencies, factor):
    """Return all frequencies divided by ``factor``.

    Raises
    ------
    ValueError
        A factor that is not a positive finite number.
    """
    _check("factor", factor)
    return tuple(frequency / factor for frequency in frequencies)


def llama3_frequencies(frequencies, *, factor, low_freq_factor, high_freq_factor, context):
    """Return the frequencies as Llama 3.1 scales them.

    A pair that turns at least ``high_freq_factor`` times within ``context`` positions stays, one
    that turns at most ``low_freq_factor`` times is divided by ``factor``, and in between the
    two are mixed in proportion to the turns.

    Raises
    ------
    ValueError
        A parameter that is not a positive finite number, or low_freq_factor not below
        high_freq_factor.
    """
    _check("factor", factor)
    _check("low_freq_factor", low_freq_factor)
    _check("high_freq_factor", high_freq_factor)
    _check("original_max_position_embeddings", context)
    if low_freq_factor >= high_freq_factor:
        raise ValueError(
            f"low_freq_factor must be below high_freq_factor ({high_freq_factor}), "
            f"not {low_freq_factor}"
        )

    def scaled(frequency):
        turns = context * frequency / (2 * pi)
        kept = (turns - low_freq_factor) / (high_freq_factor - low_freq_factor)
        kept = min(1.0, max(0.0, kept))
        return kept * frequency + (1 - kept) * frequency / factor

    return tuple(scaled(frequency) for frequency in frequencies)


def rope_angles(frequencies, positions):
    """Return the angle of every pair, (positions, pairs), in radians and float64."""
    return np.asarray(positions, dtype=np.float64)[:, None] * np.asarray(frequencies)


def _check(name, value):
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not 0 < value or not isfinite(value):
        raise ValueError(f"{name} must be a positive finite number, not {value!r}")
