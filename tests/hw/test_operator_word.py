"""Tests of `hw.operator_word`: the hardware reads what `hw.spec.isa` writes."""

import pytest
from amaranth.hdl import Shape

from hw.operator_word import HeaderLayout, operator_layout
from hw.spec.isa import HEADER, OPERATORS, WORD_BYTES, decode, encode, fields_of

FIELDS = [(name, field, width) for name in OPERATORS for field, width in fields_of(name)]


def bits_of(layout, values):
    return layout.const(values).as_value().value


def word_of(name, **values):
    return int.from_bytes(encode(name, **values), "little")


@pytest.mark.parametrize("name", OPERATORS)
def test_layout_is_a_whole_word(name):
    assert Shape.cast(operator_layout(name)).width == 8 * WORD_BYTES
    assert Shape.cast(HeaderLayout).width == 8 * WORD_BYTES


@pytest.mark.parametrize(("name", "field", "width"), FIELDS)
def test_field_lies_where_encode_puts_it(name, field, width):
    opcode = OPERATORS[name].opcode
    for value in (0, 1, 1 << (width - 1), (1 << width) - 1):
        values = {"opcode": opcode} | {field: value}
        assert bits_of(operator_layout(name), values) == word_of(name, **values)


@pytest.mark.parametrize("name", OPERATORS)
def test_neighbouring_fields_do_not_meet(name):
    """Every second field is all ones, then the others."""
    fields = fields_of(name)[1:]
    for parity in (0, 1):
        values = {field: (1 << width) - 1 for field, width in fields[parity::2]}
        bits = bits_of(operator_layout(name), {"opcode": OPERATORS[name].opcode} | values)
        assert bits == word_of(name, **values)
        found, got = decode(bits.to_bytes(WORD_BYTES, "little"))
        assert found == name
        assert {
            field: value for field, value in got.items() if value and field != "opcode"
        } == values


@pytest.mark.parametrize("name", OPERATORS)
def test_every_operator_begins_with_the_header(name):
    layout = operator_layout(name)
    for field, _ in HEADER:
        assert (layout[field].offset, layout[field].width) == (
            HeaderLayout[field].offset,
            HeaderLayout[field].width,
        )


def test_opcodes_are_known_and_differ():
    opcodes = [operator.opcode for operator in OPERATORS.values()]
    assert len(set(opcodes)) == len(opcodes)
    assert 0 not in opcodes  # an empty memory is no program


def test_unknown_operator_is_refused():
    with pytest.raises(ValueError, match="operator must be one of embed, .*, not 'conv'"):
        operator_layout("conv")
