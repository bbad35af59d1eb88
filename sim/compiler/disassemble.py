"""Prints programs of operator words."""

from hw.spec import isa
from hw.spec.tables import ACTIVATIONS

__all__ = ["disassemble", "format_word"]

MAX_WORDS = 1 << 16  # op_id has 16 bits
#: Fields that a line shows apart from the rest, or that always follow from the others.
APART = {"opcode", "emit_only", "op_id", "addr", "words"}
#: Fields whose values have names.
NAMES = {
    "dest": {value: name for name, value in isa.DESTINATIONS.items()},
    "activation": {value: name for name, value in ACTIVATIONS.items()},
}


def disassemble(memory, *, start=0, base=0, names=None):
    """Return a program as lines of text, from its first word to its ``end``.

    Parameters
    ----------
    memory : bytes-like
        Where the program lies.
    start : int
        Address of the first word.
    base : int
        Address of the first byte of ``memory``.
    names : sequence of str
        Names of the operators by op_id, shown at the end of the lines.

    Raises
    ------
    ValueError
        A word with an unknown opcode, with its address; a program without an end.
    """
    lines = []
    for index in range(MAX_WORDS):
        addr = start + index * isa.WORD_BYTES
        offset = addr - base
        word = bytes(memory[offset : offset + isa.WORD_BYTES]) if offset >= 0 else b""
        if len(word) < isa.WORD_BYTES:
            raise ValueError(f"address {addr:#010x}: the program must finish with end")
        try:
            operator, fields = isa.decode(word)
        except ValueError as error:
            raise ValueError(f"address {addr:#010x}: {error}") from None
        lines.append(f"{addr:08x}  {format_word(operator, fields, names)}")
        if operator == "end":
            return lines
    raise ValueError(f"address {start:#010x}: no end among {MAX_WORDS} operator words")


def format_word(operator, fields, names=None):
    """Return one decoded operator as text: op_id, name, stream, and the fields that are not 0."""
    shown = []
    if fields["words"]:
        shown.append(f"addr={fields['addr']:#x} words={fields['words']}")
    for name, value in fields.items():
        if name == "dest" or value and name not in APART:
            shown.append(f"{name}={NAMES.get(name, {}).get(value, value)}")
    if fields["emit_only"]:
        shown.append("emit_only")
    op_id = fields["op_id"]
    if names is not None and op_id < len(names):
        shown.append(f"; {names[op_id]}")
    return f"{op_id:4}  {operator:<9}  {' '.join(shown)}".rstrip()
