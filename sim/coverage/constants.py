"""Find the bits of Verilog that nothing drives but one constant: they can never toggle.

Bits are followed through assignments that only join, cut and rename, through the ports of modules,
and through registers, which begin with their initial value. A bit is constant if all that is ever
assigned to it, under whatever condition, is the same constant. What passes an operator is free.
"""

import re

__all__ = ["constants"]

_NAME = r"(?:\\\S+ |[A-Za-z_][\w$]*)"
_MODULE = re.compile(rf"^module ({_NAME})\s*\(")
_DECLARED = re.compile(
    rf"^  (?:input |output )?(?:wire |reg )?(?:signed )?(?:\[(\d+):0\] )?({_NAME})(?: = (.*))?;$"
)
_INPUT = re.compile(rf"^  input (?:\[\d+:0\] )?({_NAME});$")
_ASSIGN = re.compile(r"^\s+(?:assign )?([^()=?]*?) <?= (.*);$")
_NAMES = re.compile(_NAME)
_CELL = re.compile(rf"^  ({_NAME}) ({_NAME})\s*\($")
_PORT = re.compile(rf"^    \.({_NAME})\((.*)\),?$")
_TOKEN = re.compile(rf"\s*(\d+'[bdh][0-9a-fA-FxXzZ_?]+|{_NAME}|\[\d+(?::\d+)?\]|[{{}},])\s*")
_BASES = {"b": 2, "d": 10, "h": 16}


def _plain(name):
    return name.strip().removeprefix("\\")


class _Module:
    """Widths, initial values, inputs, assignments and cells of a module."""

    def __init__(self):
        self.widths, self.initial, self.inputs = {}, [], set()
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
        elif found := _DECLARED.match(line):
            module.widths[_plain(found[2])] = int(found[1] or 0) + 1
            if found[3]:
                module.initial.append((found[2], found[3]))
            if _INPUT.match(line):
                module.inputs.add(_plain(found[2]))
        elif found := _ASSIGN.match(line):
            module.assigns.append((found[1], found[2]))
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
    drivers = {}  # (module, name, bit): all that it is set to: 0, 1, such a key, or FREE

    def connect(target, owner, source, source_owner):
        for index, bit in enumerate(target):
            driver = source[index] if source and index < len(source) else FREE
            if isinstance(driver, tuple):
                driver = (source_owner, *driver)
            drivers.setdefault((owner, *bit), []).append(driver)

    for name, module in modules.items():
        for left, right in (*module.initial, *module.assigns):
            target = _bits(left, module)
            if target is None or not all(isinstance(bit, tuple) for bit in target):
                # Not understood: whatever it names is free.
                names = {_plain(one) for one in _NAMES.findall(f"{left} ")} & set(module.widths)
                target = [(one, bit) for one in names for bit in range(module.widths[one])]
                connect(target, name, None, name)
            else:
                connect(target, name, _bits(right, module), name)
        for kind, ports in module.cells:
            inside = modules.get(kind)
            for port, wire in ports:
                outer = _bits(wire, module)
                inner = _bits(f"{port} ", inside) if inside else None
                if inside and port in inside.inputs:
                    connect(inner, kind, outer, name)
                elif outer and all(isinstance(bit, tuple) for bit in outer):
                    connect(outer, name, inner, kind)
    return _masks(modules, drivers)


FREE = "free"


def _masks(modules, drivers):
    """Follow the drivers: every bit begins without a value, and gets those of all its drivers."""
    users, values = {}, {}
    for key, sources in drivers.items():
        for source in sources:
            if isinstance(source, tuple):
                users.setdefault(source, []).append(key)
    everything = [
        (name, signal, bit)
        for name, module in modules.items()
        for signal, width in module.widths.items()
        for bit in range(width)
    ]
    work = list(everything)
    while work:
        key = work.pop()
        # What nothing is known to drive comes from outside.
        found = {
            values.get(source) if isinstance(source, tuple) else source
            for source in drivers.get(key, [FREE])
        } - {None}
        value = None if not found else found.pop() if len(found) == 1 else FREE
        if value is not None and value != values.get(key):
            values[key] = value
            work += users.get(key, ())
    masks = {}
    for name, signal, bit in everything:
        if values.get((name, signal, bit)) in (0, 1):
            signals = masks.setdefault(name, {})
            signals[signal] = signals.get(signal, 0) | 1 << bit
    return masks
