"""Find the bits of Verilog that nothing drives but constants: they can never toggle.

Wires are followed through assignments that only join, cut and rename, and through the ports of
modules; what passes an operator, a register or a block counts as free.
"""

import re

__all__ = ["constants"]

_NAME = r"(?:\\\S+ |[A-Za-z_][\w$]*)"
_MODULE = re.compile(rf"^module ({_NAME})\s*\(")
_DECLARED = re.compile(
    rf"^  (?:input |output )?(?:wire |reg )?(?:signed )?(?:\[(\d+):0\] )?({_NAME})(?: = .*)?;$"
)
_INPUT = re.compile(rf"^  input (?:\[\d+:0\] )?({_NAME});$")
_ASSIGN = re.compile(r"^  assign (.*) = (.*);$")
_CELL = re.compile(rf"^  ({_NAME}) ({_NAME})\s*\($")
_PORT = re.compile(rf"^    \.({_NAME})\((.*)\),?$")
_TOKEN = re.compile(rf"\s*(\d+'[bdh][0-9a-fA-FxXzZ_?]+|{_NAME}|\[\d+(?::\d+)?\]|[{{}},])\s*")
_BASES = {"b": 2, "d": 10, "h": 16}


def _plain(name):
    return name.strip().removeprefix("\\")


class _Module:
    """Widths, inputs, assignments and cells of a module."""

    def __init__(self):
        self.widths, self.inputs = {}, set()
        self.assigns, self.cells = [], []


def _read(text):
    modules, module, cell = {}, None, None
    for line in text.splitlines():
        if found := _MODULE.match(line):
            module = modules.setdefault(_plain(found[1]), _Module())
        elif module is None:
            continue
        elif cell is not None:
            if found := _PORT.match(line):
                cell[1].append((_plain(found[1]), found[2]))
            else:
                cell = None
        elif found := _ASSIGN.match(line):
            module.assigns.append((found[1], found[2]))
        elif found := _DECLARED.match(line):
            module.widths[_plain(found[2])] = int(found[1] or 0) + 1
            if _INPUT.match(line):
                module.inputs.add(_plain(found[2]))
        elif found := _CELL.match(line):
            cell = (_plain(found[1]), [])
            module.cells.append(cell)
    return modules


def _bits(text, module):
    """Return the bits of a sum of names, cuts and constants, from bit 0; None for anything else.

    A bit is ``0`` or ``1``, or (name, number).
    """
    tokens, at = [], 0
    while at < len(text):
        found = _TOKEN.match(text, at)
        if not found:
            return None
        tokens.append(found[1])
        at = found.end()
    parts, depth = [], 0
    for token in tokens:
        if token in "{}":
            depth += 1 if token == "{" else -1
        elif token.startswith("["):
            if not parts:
                return None
            high, _, low = token[1:-1].partition(":")
            parts[-1] = parts[-1][int(low or high) : int(high) + 1]
        elif token != ",":
            number = re.fullmatch(r"(\d+)'([bdh])(\S+)", token)
            if number:
                parts.append(_number(int(number[1]), number[2], number[3]))
            else:
                name = _plain(token)
                if name not in module.widths:
                    return None
                parts.append([(name, bit) for bit in range(module.widths[name])])
        if parts and parts[-1] is None:
            return None
    return [bit for part in reversed(parts) for bit in part] if depth == 0 else None


def _number(width, base, digits):
    try:
        value = int(digits.replace("_", ""), _BASES[base])
    except ValueError:
        return None  # has x or z
    return [value >> bit & 1 for bit in range(width)]


def constants(text):
    """Return module to signal to a mask of the bits that are constant.

    Parameters
    ----------
    text : str
        Verilog as Amaranth writes it: each module has one instance, and the first is the top.
    """
    modules = _read(text)
    drivers = {}  # (module, name, bit): what it is connected to: 0, 1, such a key, or None

    def connect(target, owner, source, source_owner):
        # What is driven twice, in parts or by several, is not looked at more closely.
        for bit, driver in zip(target, source, strict=False):
            key = (owner, *bit)
            if isinstance(driver, tuple):
                driver = (source_owner, *driver)
            drivers[key] = driver if key not in drivers else None

    for name, module in modules.items():
        for left, right in module.assigns:
            target = _bits(left, module)
            source = _bits(right, module)
            if target and source and all(isinstance(bit, tuple) for bit in target):
                connect(target, name, source, name)
        for kind, ports in module.cells:
            inside = modules.get(kind)
            for port, wire in ports if inside else ():
                outer, inner = _bits(wire, module), _bits(port + " ", inside)
                if not outer or not inner:
                    continue
                if port in inside.inputs:
                    connect(inner, kind, outer, name)
                elif all(isinstance(bit, tuple) for bit in outer):
                    connect(outer, name, inner, kind)
    return _masks(modules, drivers)


def _masks(modules, drivers):
    known = {}

    def value(key):
        """Return 0, 1, or None for a bit that is free."""
        path = []
        while isinstance(key, tuple) and key not in known:
            if key in path:
                key = None  # a ring
                break
            path.append(key)
            key = drivers.get(key)
        result = known[key] if isinstance(key, tuple) else key
        known.update(dict.fromkeys(path, result))
        return result

    found = {}
    for name, module in modules.items():
        for signal, width in module.widths.items():
            bits = (value((name, signal, bit)) is not None for bit in range(width))
            mask = sum(1 << bit for bit, fixed in enumerate(bits) if fixed)
            if mask:
                found.setdefault(name, {})[signal] = mask
    return found
