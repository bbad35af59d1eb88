"""Operator words: one instruction is one transformer operator.

A word is 64 bytes, little-endian, its fields packed from bit 0 upwards in the order of the tables
below. Fields not named are zero. `encode` and `decode` are the only places that pack and unpack in
software; the hardware makes its layout from the same tables (`hw/operator_word.py`).
"""

from dataclasses import dataclass

__all__ = [
    "DESTINATIONS",
    "HEADER",
    "MAX_TABLE_WORDS",
    "OPERATORS",
    "WORD_BYTES",
    "Operator",
    "decode",
    "encode",
    "fields_of",
]

WORD_BYTES = 64

#: Most words of one row of a table, and of a norm's gains.
MAX_TABLE_WORDS = (1 << 16) - 1

#: Fields that every operator word begins with.
#:
#: ``emit_only``: the operator is left out of passes that emit no token (a chunk of a prompt that is
#: not its last); ``end`` never is. ``op_id``: a number of the compiler's choice, for traces and
#: error reports. ``addr``, ``words``: where the operator's stream lies, and its length in words of
#: ``cols`` bytes (0: none). For ``embed`` and ``rope``: start of the table, words of one row of it;
#: of these and the norms at most `MAX_TABLE_WORDS`.
#: Streams lie on channel 0, those of ``linear`` at the same address on each channel of a tile.
HEADER = (
    ("opcode", 8),
    ("emit_only", 8),
    ("op_id", 16),
    ("addr", 32),
    ("words", 32),
)

#: Where a linear operator's results go, the field ``dest``.
DESTINATIONS = {
    "residual": 0,  # SAT32, added to the residual
    "qkv": 1,  # sections q, k, v: rope, block quantise; q to the activation memory, k, v appended
    # Strips alternate gate, up: act(gate) * up, block quantise, to the activation memory. With
    # strips1 = 0 there is no up, and act(gate) alone is quantised.
    "glu": 2,
    "logits": 3,  # arg max
}

_SECTIONS = tuple(
    (f"{field}{index}", width)
    for index in range(3)
    for field, width in (("strips", 16), ("shift1_", 6), ("shift2_", 6), ("spare", 4))
)


@dataclass(frozen=True)
class Operator:
    """An opcode and the fields that follow the header, as (name, width in bits)."""

    opcode: int
    fields: tuple


#: Units of the fields: ``src``, ``dst``, ``q_src``: blocks of 32 in a row of the activation memory;
#: ``blocks``: blocks of 32 along the reduction; ``strips<n>``: strips of 32 output channels of
#: section n; ``valid``: tokens of the vocabulary; ``kv_offset``, ``head_stride``: bytes inside a
#: page of one channel of the KV cache. ``strip_words``: words of a strip in one channel; a linear
#: operator's ``words`` are those in a channel of group 0, and a group that has a strip less has
#: ``strip_words`` less (`ArchConfig.groups`). ``positions``: the table's rows are taken by
#: position, not by token, and added to the residual. ``activation``: a number of
#: `tables.ACTIVATIONS`; ``table_shift``: bits of a gate below the index of its table.
#: ``head_norm``: q and k pass through the norm whose gains the last ``head_norm`` operator loaded.
#: ``window``: positions that a row sees, its own included, or 0 for all. ``emit_rows``: of all rows
#: only those that give a token, which become the first rows; only together with ``emit_only``.
OPERATORS = {
    "embed": Operator(1, (("shift", 6), ("blocks", 10), ("valid", 32), ("positions", 1))),
    "rope": Operator(2, (("spare", 6), ("blocks", 10))),
    "norm": Operator(
        3,
        (
            ("blocks", 10),
            ("dst", 10),
            ("shift", 6),
            ("emit_rows", 1),
            ("spare", 5),
            ("epsilon", 48),
        ),
    ),
    "linear": Operator(
        4,
        (
            ("dest", 4),
            ("bias", 1),
            ("head_norm", 1),
            ("activation", 2),
            ("blocks", 12),
            ("src", 10),
            ("dst", 10),
            ("head_blocks", 4),
            ("table_shift", 6),
            ("glu_shift", 6),
            ("emit_rows", 1),
            ("spare_more", 7),
            *_SECTIONS,
            ("valid", 32),
            ("kv_offset", 32),
            ("head_stride", 32),
            ("strip_words", 32),
        ),
    ),
    "attention": Operator(
        5,
        (
            ("q_src", 10),
            ("dst", 10),
            ("head_blocks", 4),
            ("kv_heads", 8),
            ("group", 8),
            ("shift", 6),
            ("kv_offset", 32),
            ("head_stride", 32),
            ("window", 32),
        ),
    ),
    "end": Operator(6, ()),
    "head_norm": Operator(
        7,
        (
            ("head_blocks", 4),
            ("shift_q", 6),
            ("shift_k", 6),
            ("epsilon_q", 48),
            ("epsilon_k", 48),
        ),
    ),
}


def fields_of(name):
    """Return all fields of the operator called ``name``: (name, width in bits) from bit 0."""
    return HEADER + OPERATORS[name].fields


def encode(name, **values):
    """Return the operator word as `WORD_BYTES` bytes.

    Raises
    ------
    ValueError
        An unknown operator or field, or a value that its field cannot hold.
    """
    if name not in OPERATORS:
        raise ValueError(f"operator must be one of {', '.join(OPERATORS)}, not {name!r}")
    values = {"opcode": OPERATORS[name].opcode, **values}
    fields = fields_of(name)
    unknown = set(values) - {field for field, _ in fields}
    if unknown:
        raise ValueError(f"operator {name} has no field {', '.join(sorted(unknown))}")
    word, offset = 0, 0
    for field, width in fields:
        value = int(values.get(field, 0))
        if not 0 <= value < 1 << width:
            raise ValueError(f"{name}.{field} must be 0 to {(1 << width) - 1}, not {value}")
        word |= value << offset
        offset += width
    return word.to_bytes(WORD_BYTES, "little")


def decode(word):
    """Return (name, fields as a dict) of an operator word given as bytes.

    Raises
    ------
    ValueError
        An opcode that no operator has.
    """
    bits = int.from_bytes(word, "little")
    opcode = bits & 0xFF
    for name, operator in OPERATORS.items():
        if operator.opcode == opcode:
            values, offset = {}, 0
            for field, width in fields_of(name):
                values[field] = bits >> offset & (1 << width) - 1
                offset += width
            return name, values
    allowed = [operator.opcode for operator in OPERATORS.values()]
    raise ValueError(f"opcode must be one of {allowed}, not {opcode}")
