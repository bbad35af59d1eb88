"""SwiGLU: the sigmoid from a table, and the two products."""

import numpy as np

from hw.spec.formats import FFN_WIDTH, SIG_LUT_LEN
from hw.spec.tables import SIG_ONE, sig_table

from .fixed import round_shift, saturate

__all__ = ["sigmoid", "swiglu"]

STEP_FRACTION = 4  #: the table has 2**4 entries for each unit of its argument
SIG_FRACTION = 15  #: fraction bits of a sigmoid

_SIG = np.array(sig_table(), dtype=np.int64)


def sigmoid(x, fraction):
    """Return the sigmoid with 15 fraction bits of x with ``fraction`` bits, 4 at least."""
    x = np.asarray(x, dtype=np.int64)
    magnitude = np.abs(x)
    step = fraction - STEP_FRACTION
    index = np.minimum(magnitude >> step, SIG_LUT_LEN - 2)
    low = _SIG[index]
    between = ((_SIG[index + 1] - low) * (magnitude & ((1 << step) - 1))) >> step
    last = magnitude >> step >= SIG_LUT_LEN - 1
    positive = np.where(last, SIG_ONE, low + between)
    return np.where(x < 0, SIG_ONE - positive, positive)


def swiglu(gate, up, gate_fraction, shift, on_clip=None):
    """Return gate * sigmoid(gate) * up, its last ``shift`` bits rounded away."""
    gate = np.asarray(gate, dtype=np.int64)
    silu = round_shift(gate * sigmoid(gate, gate_fraction), SIG_FRACTION)
    return saturate(round_shift(silu * up, shift), FFN_WIDTH, on_clip)
