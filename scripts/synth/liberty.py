"""Read Liberty files: which cells there are, and what mapping and timing need of them."""

import fnmatch
import gzip
import hashlib
import re
import zlib
from dataclasses import dataclass, field
from pathlib import Path

from .function import truth

__all__ = ["DONT_USE", "Cell", "Library", "read_library"]

#: Library to the cells that no mapping should take: library's name begins so, patterns of cells.
DONT_USE = {
    # Dear flip-flops, scan, clock gates, and cells too weak or too odd to be of use.
    "asap7sc7p5t": ("DFFHQx4*", "SDF*", "ICG*", "*x1p*", "*xp*"),
    # Clock gates, a bus keeper, and a flip-flop that costs more than its smaller sister.
    "sg13g2": ("sg13g2_lgcp_1", "sg13g2_slgcp_1", "sg13g2_sighold", "sg13g2_dfrbp_2"),
}

_TOKEN = re.compile(
    r"/\*.*?\*/"
    r'|(?P<kind>\b\w+)\s*\(\s*(?P<name>(?:"[^"]*"|[^(){}";])*)\)\s*(?P<open>\{)'
    r'|"(?:[^"\\]|\\.)*"'
    r"|(?P<brace>[{}])",
    re.S,
)
#: Groups that neither mapping nor timing reads: power, noise, waveforms, scan.
_UNREAD = re.compile(
    r"internal_power|leakage\w*|output_current_\w+|receiver_capacitance\w*|dc_current|test_cell"
    r"|normalized_driver_waveform|intrinsic_parasitic|dynamic_current|ccsn_\w+|\w*noise\w*"
)
_AREA = re.compile(r"\barea\s*:\s*\"?([\d.]+(?:[eE][+-]?\d+)?)")
_HIDDEN = re.compile(r"\bdont_use\s*:\s*\"?true")
_DIRECTION = re.compile(r"\bdirection\s*:\s*\"?(\w+)")
_FUNCTION = re.compile(r"\bfunction\s*:\s*\"([^\"]*)\"")


@dataclass
class _Group:
    kind: str
    name: str
    start: int
    body: int
    end: int = -1
    children: list = field(default_factory=list)


@dataclass(frozen=True)
class Cell:
    """A cell that mapping may take.

    Members
    -------
    area : float
        In the library's unit: square micrometres in most.
    inputs, outputs : tuple of str
        Pins.
    functions : dict
        Output to the text of its Boolean function, where it has one.
    kind : str
        ``ff``, ``latch`` or ``gate``.
    """

    area: float
    inputs: tuple
    outputs: tuple
    functions: dict
    kind: str

    def computes(self, table):
        """Return whether it is a gate with one output and this truth table."""
        if self.kind != "gate" or len(self.outputs) != 1 or len(self.functions) != 1:
            return False
        return truth(self.functions[self.outputs[0]], self.inputs) == table


@dataclass(frozen=True)
class Library:
    """What mapping and timing need of some Liberty files.

    Members
    -------
    name : str
        Names of the libraries in them.
    cells : dict
        Name to `Cell`.
    texts : tuple of str
        The files, without what is not read and cells that are not to be used.
    dont_use : tuple of str
        The patterns.
    """

    name: str
    cells: dict
    texts: tuple
    dont_use: tuple

    @property
    def digest(self):
        """Tells one library from another."""
        return hashlib.sha256("\n".join(self.texts).encode()).hexdigest()[:24]

    def tie(self, value):
        """Return (cell, pin) that is always this value (0 or 1), or None."""
        for name, cell in self.cells.items():
            if not cell.inputs and cell.computes((value,)):
                return name, cell.outputs[0]
        return None


def _text(path):
    raw = Path(path).read_bytes()
    if raw[:2] == b"\x1f\x8b":
        try:
            raw = gzip.decompress(raw)
        except (EOFError, OSError, zlib.error) as error:
            raise ValueError(f"{path}: damaged gzip file: {error}") from error
    return raw.decode(errors="replace")


def _groups(text, path):
    """Return the library's group, with the groups in it."""
    stack, library = [], None
    for match in _TOKEN.finditer(text):
        if match["open"]:
            group = _Group(
                match["kind"], match["name"].strip().strip('"'), match.start(), match.end()
            )
            if stack:
                stack[-1].children.append(group)
            elif library is None and group.kind == "library":
                library = group
            else:
                raise ValueError(f"{path}: not a Liberty file: {group.kind} outside its library")
            stack.append(group)
        elif match["brace"] == "}" and stack:
            stack.pop().end = match.end()
        elif match["brace"]:
            raise ValueError(f"{path}: not a Liberty file: a brace that belongs to no group")
    if library is None:
        raise ValueError(f"{path}: not a Liberty file: it has no group library (...)")
    if stack:
        inner = stack[-1]
        raise ValueError(f"{path}: cut off: {inner.kind} ({inner.name}) does not end")
    return library


def _cell(text, group, path):
    own, at = [], group.body
    for child in group.children:
        own.append(text[at : child.start])
        at = child.end
    own = "".join([*own, text[at : group.end]])
    area = _AREA.search(own)
    if area is None:
        raise ValueError(f"{path}: cell {group.name} has no area")
    pins = {"input": [], "output": [], "inout": [], "internal": []}
    functions = {}
    for pin in group.children:
        if pin.kind != "pin":
            continue
        body = text[pin.body : pin.end]
        direction = _DIRECTION.search(body)
        if direction is None or direction[1] not in pins:
            raise ValueError(f"{path}: pin {pin.name} of cell {group.name} has no direction")
        pins[direction[1]].append(pin.name)
        if function := _FUNCTION.search(body):
            functions[pin.name] = function[1]
    kinds = {child.kind for child in group.children}
    kind = next((kind for kind in ("ff", "latch") if kind in kinds), "gate")
    hidden = bool(_HIDDEN.search(own)) or "statetable" in kinds
    cell = Cell(float(area[1]), tuple(pins["input"]), tuple(pins["output"]), functions, kind)
    return cell, hidden


def _reduced(text, group, dropped):
    """Return a group's text without those that are not read and the cells to be dropped."""
    parts, at = [], group.start
    for child in group.children:
        if _UNREAD.fullmatch(child.kind) or (child.kind == "cell" and child.name in dropped):
            parts.append(text[at : child.start])
        else:
            parts += [text[at : child.start], _reduced(text, child, dropped)]
        at = child.end
    return "".join([*parts, text[at : group.end]])


def _default_dont_use(names):
    return tuple(
        pattern
        for prefix, patterns in DONT_USE.items()
        if any(name.startswith(prefix) for name in names)
        for pattern in patterns
    )


def _check(library):
    needed = {
        "inverter": lambda cell: cell.computes((1, 0)),
        "NAND gate of two inputs": lambda cell: cell.computes((1, 1, 1, 0)),
        "flip-flop": lambda cell: cell.kind == "ff",
    }
    for what, is_one in needed.items():
        if not any(is_one(cell) for cell in library.cells.values()):
            without = f" besides {', '.join(library.dont_use)}" if library.dont_use else ""
            raise ValueError(f"{library.name}: the library has no {what}{without}")


def read_library(paths, dont_use=None):
    """Return the `Library` of some Liberty files, plain or gzipped.

    Parameters
    ----------
    paths : list of str
    dont_use : list of str
        Patterns of cells that are not to be used, or None for `DONT_USE`.

    Raises
    ------
    ValueError
        A file that is not Liberty or is cut off, a cell in two files, no inverter, NAND or
        flip-flop.
    OSError
        A file that cannot be read.
    """
    texts = {path: _text(path) for path in paths}
    groups = {path: _groups(text, path) for path, text in texts.items()}
    names = [group.name for group in groups.values()]
    patterns = _default_dont_use(names) if dont_use is None else tuple(dont_use)
    cells, reduced = {}, []
    for path, group in groups.items():
        dropped = set()
        for child in group.children:
            if child.kind != "cell":
                continue
            cell, hidden = _cell(texts[path], child, path)
            if hidden or any(fnmatch.fnmatchcase(child.name, pattern) for pattern in patterns):
                dropped.add(child.name)
            elif child.name in cells:
                raise ValueError(f"{path}: cell {child.name} is there twice")
            else:
                cells[child.name] = cell
        reduced.append(_reduced(texts[path], group, dropped) + "\n")
    library = Library(", ".join(names), cells, tuple(reduced), patterns)
    _check(library)
    return library
