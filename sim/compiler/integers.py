"""Float matrices, norms and table rows as integers: the formulas of `numerics.md` 3.1."""

from math import frexp, sqrt

import numpy as np

from hw.spec.formats import ACT_WIDTH, BLOCK_LEN, GAIN_WIDTH
from sim.golden.model import Linear, Norm
from sim.golden.rmsnorm import UNIT_FRACTION

__all__ = [
    "MAX_FRACTION",
    "SCALE_WIDTH",
    "WEIGHT_LIMIT",
    "ceil_log2",
    "fraction_bits",
    "pad",
    "padded",
    "quantise_rows",
    "quantised_linear",
    "quantised_norm",
    "row_multipliers",
    "scaled_linear",
]

SCALE_WIDTH = 16  #: a channel's multiplier: unsigned
BIAS_WIDTH = 32  # signed
EPSILON_WIDTH = 48  # of a norm: unsigned
MAX_SHIFT2 = 47
MAX_FRACTION = 20  #: fraction bits of anything but logits, at most
WEIGHT_LIMIT = (1 << (ACT_WIDTH - 1)) - 1  #: largest magnitude of an INT8 element


def _floor_log2(x):
    return frexp(x)[1] - 1


def ceil_log2(x):
    """Return the least n with ``2**n >= x``, of x > 0."""
    mantissa, exponent = frexp(x)
    return exponent - 1 if mantissa == 0.5 else exponent


def padded(length):
    """Return the length in whole blocks."""
    return -(-length // BLOCK_LEN) * BLOCK_LEN


def pad(x, *lengths):
    """Return an array with zeros at the end of its axes, which then have these lengths."""
    return np.pad(x, [(0, length - old) for old, length in zip(x.shape, lengths, strict=True)])


def fraction_bits(largest, width, limit=MAX_FRACTION):
    """Return the most fraction bits that leave a bit of headroom over the largest value."""
    return min(limit, width - 2 - ceil_log2(largest)) if largest > 0 else limit


def quantise_rows(weight, feedback=None):
    """Return INT8 rows and the scale of each, rounded by an `ErrorFeedback` or each by itself."""
    scale = np.abs(weight).max(axis=1) / WEIGHT_LIMIT
    rows = weight / np.where(scale > 0, scale, 1)[:, None]
    if feedback is not None:
        return feedback.round(rows), scale
    return np.clip(np.rint(rows), -WEIGHT_LIMIT, WEIGHT_LIMIT).astype(np.int8), scale


def row_multipliers(ratios, what):
    """Return (multiplier, shift) so that ``multiplier / 2**shift`` is each ratio.

    Raises
    ------
    ValueError
        Ratios that need a shift out of range.
    """
    largest = float(ratios.max())
    shift = SCALE_WIDTH - 1 - _floor_log2(largest) if largest > 0 else 0
    if np.rint(largest * 2.0**shift) >= 1 << SCALE_WIDTH:
        shift -= 1
    if not 0 <= shift <= MAX_SHIFT2:
        raise ValueError(f"{what}: the requantiser's shift must be 0 to {MAX_SHIFT2}, not {shift}")
    return np.rint(ratios * 2.0**shift).astype(np.uint16), shift


def quantised_linear(weight, bias, what, *, feedback=None, extra=1.0, **formats):
    """Return the `Linear` of a matrix and its bias (or None), both multiplied with ``extra``.

    ``feedback`` as for `quantise_rows`, ``formats`` and errors as for `scaled_linear`.
    """
    rows, scale = quantise_rows(weight, feedback)
    bias = None if bias is None else bias * extra
    return scaled_linear(rows, scale * extra, bias, what, **formats)


def scaled_linear(rows, scale, bias, what, *, in_width, in_fraction, out_width, out_fraction):
    """Return the `Linear` of INT8 rows, each with its scale, and of a bias or None.

    Parameters
    ----------
    what : str
        Names the matrix in errors.
    in_width, in_fraction, out_width, out_fraction : int
        Bits of inputs and outputs, and how many of them are fraction.

    Raises
    ------
    ValueError
        A multiplier or a bias that its format cannot hold.
    """
    largest = int(np.abs(rows.astype(np.int64)).sum(axis=1).max())
    shift1 = max(0, ceil_log2(largest) + in_width - 1 - 31) if largest else 0
    multiplier, shift2 = row_multipliers(scale * 2.0 ** (out_fraction - in_fraction + shift1), what)
    if bias is not None:
        bias = np.rint(bias * 2.0**out_fraction)
        largest = float(np.abs(bias).max())
        if largest >= 1 << (BIAS_WIDTH - 1):
            raise ValueError(
                f"{what}: the bias must stay below 2**{BIAS_WIDTH - 1} units of the output, "
                f"not reach {largest:g}"
            )
        bias = bias.astype(np.int32)
    return Linear(rows, multiplier, shift1, shift2, out_width, bias)


def quantised_norm(gain, what, *, length, epsilon, in_fraction, out_width):
    """Return the `Norm`, and the fraction bits of its output, which a hard bound gives.

    Parameters
    ----------
    gain : float array
        Padded with zeros.
    what : str
        Names the norm in errors.
    length : int
        Elements without the padding.
    epsilon : float
    in_fraction : int
        Fraction bits of the vectors.
    out_width : int
        Bits of the output.

    Raises
    ------
    ValueError
        An epsilon that its format cannot hold.
    """
    scaled = np.asarray(gain, dtype=np.float64) * sqrt(length)
    largest = float(np.abs(scaled).max()) or 1.0
    fraction = out_width - 1 - ceil_log2(largest)
    gain_fraction = GAIN_WIDTH - 2 - _floor_log2(largest)
    if np.rint(largest * 2.0**gain_fraction) >= 1 << (GAIN_WIDTH - 1):
        gain_fraction -= 1
    integers = np.rint(scaled * 2.0**gain_fraction).astype(np.int16)
    shift = UNIT_FRACTION + gain_fraction - fraction
    square = round(epsilon * length * 2.0 ** (2 * in_fraction))
    if square >= 1 << EPSILON_WIDTH:
        raise ValueError(
            f"{what}: epsilon must stay below 2**{EPSILON_WIDTH} squares of the input's unit, "
            f"not be {square:g}"
        )
    return Norm(integers, shift, square), fraction
