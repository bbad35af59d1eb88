"""The part of Yosys' Verilog that joins, cuts and renames: which bits of which names are wired."""

import re

__all__ = ["Module", "bits_of", "names_of", "plain", "read"]

_NAME = r"(?:\\\S+ |[A-Za-z_][\w$]*)"
_MODULE = re.compile(rf"^module ({_NAME})\s*\(")
_DECLARED = re.compile(
    rf"^  (?:input |output )?(?:wire |reg )?(?:signed )?(?:\[(\d+):0\] )?({_NAME})(?: = (.*))?;$"
)
_INPUT = re.compile(rf"^  input (?:\[\d+:0\] )?({_NAME});$")
_ASSIGN = re.compile(r"^\s+(?:assign )?([^()=?]*?) <?= (.*);$")
_WIRE = "  assign "
_NAMES = re.compile(_NAME)
_CELL = re.compile(rf"^  ({_NAME}) ({_NAME})\s*\($")
_PORT = re.compile(rf"^    \.({_NAME})\((.*)\),?$")
_TOKEN = re.compile(rf"\s*(\d+'[bdh][0-9a-fA-FxXzZ_?]+|{_NAME}|\[\d+(?::\d+)?\]|[{{}},])\s*")
_BASES = {"b": 2, "d": 10, "h": 16}


def plain(name):
    """Return a name without the mark of one that is escaped."""
    return name.strip().removeprefix("\\")


class Module:
    """What is written of a module.

    Members
    -------
    widths : dict
        Of its signals.
    inputs : set of str
    initial, wires, assigns : list of tuple of str
        Left and right sides: of initial values, of what always holds, of what blocks set.
    cells : list of tuple
        Kind, and pairs of a port and what it is wired to.
    """

    def __init__(self):
        self.widths, self.initial, self.inputs = {}, [], set()
        self.wires, self.assigns, self.cells = [], [], []


def read(text):
    """Return the `Module` of each name, in the order of Verilog as Amaranth writes it."""
    modules, module, cell = {}, None, None
    for line in text.splitlines():
        if found := _MODULE.match(line):
            module = modules.setdefault(plain(found[1]), Module())
        elif module is None:
            continue
        elif cell is not None:
            if found := _PORT.match(line):
                cell[1].append((plain(found[1]), found[2]))
            else:
                cell = None
        elif found := _DECLARED.match(line):
            module.widths[plain(found[2])] = int(found[1] or 0) + 1
            if found[3]:
                module.initial.append((found[2], found[3]))
            if _INPUT.match(line):
                module.inputs.add(plain(found[2]))
        elif found := _ASSIGN.match(line):
            always = line.startswith(_WIRE)
            (module.wires if always else module.assigns).append((found[1], found[2]))
        elif found := _CELL.match(line):
            cell = (plain(found[1]), [])
            module.cells.append(cell)
    return modules


def names_of(text, module):
    """Return the signals of a module that a text names."""
    return {plain(one) for one in _NAMES.findall(f"{text} ")} & set(module.widths)


def bits_of(text, module):
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
                name = plain(token)
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
