"""Activations of a feed-forward network: the gate from a table, and the products."""

import numpy as np

from hw.spec.formats import FFN_WIDTH, SIG_LUT_LEN
from hw.spec.tables import ACTIVATIONS, MAX_TABLE_SHIFT, SIG_ONE, activation_table

from .fixed import round_shift, saturate

__all__ = ["activate", "gate_factor"]

GATE_FRACTION = 15  #: fraction bits of a gate's table

_TABLES = {name: np.array(activation_table(name), dtype=np.int64) for name in ACTIVATIONS}


def gate_factor(x, activation, table_shift):
    """Return what x is multiplied with, 0 to 1 with 15 fraction bits: interpolated from the table.

    Parameters
    ----------
    x : array of int
    activation : str
        A name of `ACTIVATIONS`.
    table_shift : int
        Bits of x below the index of the table, 0 to `MAX_TABLE_SHIFT`: the fraction bits of x less
        the activation's `ACTIVATION_STEP_BITS`.

    Raises
    ------
    ValueError
        For a parameter that is not as above.
    """
    if activation not in _TABLES:
        raise ValueError(f"activation must be one of {', '.join(_TABLES)}, not {activation!r}")
    if not 0 <= table_shift <= MAX_TABLE_SHIFT:
        raise ValueError(f"table_shift must be 0 to {MAX_TABLE_SHIFT}, not {table_shift!r}")
    x = np.asarray(x, dtype=np.int64)
    table = _TABLES[activation]
    magnitude = np.abs(x)
    index = np.minimum(magnitude >> table_shift, SIG_LUT_LEN - 2)
    low = table[index]
    rest = magnitude & ((1 << table_shift) - 1)
    between = ((table[index + 1] - low) * rest) >> table_shift
    beyond = magnitude >> table_shift >= SIG_LUT_LEN - 1
    positive = np.where(beyond, SIG_ONE, low + between)
    return np.where(x < 0, SIG_ONE - positive, positive)


def activate(gate, up, activation, table_shift, shift, on_clip=None):
    """Return activation(gate) * up, its last ``shift`` bits rounded away.

    Parameters
    ----------
    gate, up : array of int
        Of one shape; ``up`` is None in a network without: it is left out of the product.
    activation, table_shift
        Of `gate_factor`.
    shift : int
    on_clip : callable
        Called with the number of results that were clipped.
    """
    gate = np.asarray(gate, dtype=np.int64)
    product = round_shift(gate * gate_factor(gate, activation, table_shift), GATE_FRACTION)
    if up is not None:
        product = product * up
    return saturate(round_shift(product, shift), FFN_WIDTH, on_clip)
