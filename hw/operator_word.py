"""The hardware's view of an operator word, made from the tables of `hw.spec.isa`."""

from amaranth.hdl import unsigned
from amaranth.lib import data

from .spec.isa import HEADER, OPERATORS, WORD_BYTES, fields_of

__all__ = ["HeaderLayout", "operator_layout"]

_WORD_WIDTH = 8 * WORD_BYTES


def _padded(fields):
    layout = {name: unsigned(width) for name, width in fields}
    used = sum(width for _, width in fields)
    return data.StructLayout(layout | {"unused": unsigned(_WORD_WIDTH - used)})


HeaderLayout = _padded(HEADER)


def operator_layout(name):
    """Return the layout of a whole word of the operator called ``name``."""
    if name not in OPERATORS:
        raise ValueError(f"operator must be one of {', '.join(OPERATORS)}, not {name!r}")
    return _padded(fields_of(name))
