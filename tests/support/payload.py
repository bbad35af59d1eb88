"""Payloads of streams as integers and back, quickly: benches do it in every cycle."""

from amaranth.hdl import Const, Shape, Value, ValueCastable
from amaranth.lib import data, enum

__all__ = ["pack", "unpack"]


def pack(shape, payload):
    """Return the bits, as a non-negative integer, of a payload of a shape.

    Integers are taken modulo the width. Lists, arrays and dicts go into the fields of a layout, of
    which those that are missing are 0. Anything else is left to Amaranth's ``Const``.

    Raises
    ------
    ValueError
        An integer for the whole shape does not fit it, or there is no such member of an enum.
    """
    return _plan(shape).pack(payload)


def unpack(shape, bits):
    """Return the payload of a shape that has these bits: an int, a dict or a list."""
    return _plan(shape).unpack(int(bits))


def _is_number(payload):
    return isinstance(payload, int) or (
        hasattr(payload, "__index__") and not hasattr(payload, "__len__")
    )


class _Number:
    """An integer, or what only Amaranth knows how to make bits of."""

    def __init__(self, shape):
        self.shape = shape
        cast = Shape.cast(shape)
        self.width = cast.width
        self.mask = (1 << cast.width) - 1
        self.sign = 1 << (cast.width - 1) if cast.signed and cast.width else 0

    def pack(self, payload):
        if not _is_number(payload):
            return self.pack_field(payload)
        value = int(payload)
        if not -(1 << max(self.width - 1, 0)) <= value < 1 << self.width:
            raise ValueError(f"payload {value} does not fit {self.width} bits")
        return value & self.mask

    def pack_field(self, payload):
        """As `pack`, but an integer that does not fit is cut."""
        return int(payload) & self.mask if _is_number(payload) else self._const(payload)

    def unpack(self, bits):
        return ((bits & self.mask) ^ self.sign) - self.sign

    def _const(self, payload):
        if not isinstance(payload, (Value, ValueCastable)):
            payload = Const(payload, self.shape)
        return Const.cast(payload).value & self.mask


class _Enum(_Number):
    """A member of an enum, by its number."""

    def __init__(self, shape):
        super().__init__(shape)
        self.members = {member.value for member in shape}

    def pack_field(self, payload):
        # Amaranth's way takes 20 microseconds.
        known = isinstance(payload, int) and payload in self.members
        return super().pack_field(payload if known else self.shape(payload))

    def unpack(self, bits):
        return bits & self.mask


class _Array(_Number):
    """Elements of one shape, side by side."""

    def __init__(self, layout):
        super().__init__(layout)
        self.length = layout.length
        self.element = _plan(layout.elem_shape)
        self.step = self.element.width

    def pack_field(self, payload):
        if not hasattr(payload, "__len__") or isinstance(payload, dict):
            return self._const(payload)
        if len(payload) > self.length:
            raise ValueError(f"{len(payload)} elements do not fit an array of {self.length}")
        bits, pack_field, step = 0, self.element.pack_field, self.step
        for element in reversed(payload):
            bits = bits << step | pack_field(element)
        return bits

    def unpack(self, bits):
        element, step = self.element.unpack, self.step
        mask = (1 << step) - 1
        return [element(bits >> place & mask) for place in range(0, step * self.length, step)]


class _Fields(_Number):
    """Named fields."""

    def __init__(self, layout):
        super().__init__(layout)
        self.fields = {name: (field.offset, _plan(field.shape)) for name, field in layout}

    def pack_field(self, payload):
        if not isinstance(payload, dict):
            return self._const(payload)
        bits = 0
        for name, value in payload.items():
            offset, plan = self.fields[name]
            bits |= plan.pack_field(value) << offset
        return bits

    def unpack(self, bits):
        return {name: plan.unpack(bits >> offset) for name, (offset, plan) in self.fields.items()}


#: By the identity of a shape, beside the shape, so that no other one gets it.
_plans = {}


def _plan(shape):
    """Return how a shape is packed; found out once for each."""
    known = _plans.get(id(shape))
    if known is None:
        known = _plans[id(shape)] = shape, _make_plan(shape)
    return known[1]


def _make_plan(shape):
    layout = shape
    if isinstance(shape, type) and issubclass(shape, data.Struct):
        layout = data.Layout.cast(shape)
    if isinstance(layout, data.ArrayLayout):
        return _Array(layout)
    if isinstance(layout, data.Layout):
        return _Fields(layout)
    if isinstance(shape, enum.EnumType):
        return _Enum(shape)
    return _Number(shape)
