"""Read what Verilator counted, as lines and signals of the units of `hw/`."""

import hashlib
import json
import os
import re
from dataclasses import dataclass, field
from pathlib import Path

from sim.coverage.constants import constants
from sim.coverage.emit import COMMENT, ROOT
from sim.coverage.nets import one_of_each
from sim.coverage.wiring import read

__all__ = ["FILE", "VARIABLE", "DamagedData", "Unit", "collect", "folder", "keep", "load"]

#: Environment variable that names the folder of what is collected; unset: nothing is.
VARIABLE = "SERRANO_COVERAGE"
FILE = "coverage.dat"

#: Units that others have inside, each with its own widths.
LIBRARY = "hw/lib/"

_MODULE = re.compile(r"^module \\?(\S+?)\s*\(")
_MODULE_SRC = re.compile(r'^\(\* src = "([^"|]*):\d+')
_POINT = re.compile(r"^C '(.*)' (\d+)$")
_TOGGLE = re.compile(r"^(.*?)(?:\[(\d+)\])?:(0->1|1->0)$")
_ENCODED = re.compile("__0([0-9a-fA-F]{2})")
_NUMBERED = re.compile(r"\$\d+")
_HEADER = "# SystemC::Coverage-3"


class DamagedData(ValueError):
    """A file of coverage is not what Verilator or `keep` writes."""


@dataclass
class Unit:
    """What was met of one unit, a file of `hw/`.

    Members
    -------
    lines : dict
        Statement (``file:line``) to whether it was reached.
    signals : dict
        Name of a signal to four integers, with one bit for each of the signal: which are counted
        here, which rose, which fell, and which something drives that is no constant.
    """

    lines: dict = field(default_factory=dict)
    signals: dict = field(default_factory=dict)

    def reach(self, place, hit):
        """Note a statement."""
        self.lines[place] = self.lines.get(place, False) or bool(hit)

    def toggle(self, name, *masks):
        """Note bits of a signal: the four integers of `signals`."""
        before = self.signals.get(name, (0, 0, 0, 0))
        self.signals[name] = tuple(a | b for a, b in zip(before, masks, strict=True))

    def add(self, other):
        """Note what was met of the same unit in another simulator."""
        for place, hit in other.lines.items():
            self.reach(place, hit)
        for name, bits in other.signals.items():
            self.toggle(name, *bits)


class _Verilog:
    """Which unit, and which statements, a line of the Verilog belongs to; and what is constant."""

    def __init__(self, path):
        text = path.read_text()
        self.modules, self.statements = {}, {}
        self.units = {}  # of modules
        module = source = None
        for number, line in enumerate(text.splitlines(), 1):
            named = _MODULE_SRC.match(line)
            begins = _MODULE.match(line)
            if named:
                source = named[1]
            elif begins:
                module = begins[1]
                self.units[module] = source
            elif line.startswith(COMMENT):
                # The comment stands behind the first assignment of its block.
                self.statements[number - 1] = line.removeprefix(COMMENT).split()
            self.modules[number] = module
        self.wiring = read(text)
        self.constants = constants(self.wiring)

    def shared(self):
        """Return the modules that come from `LIBRARY`, or from no file of ours."""
        ours = {name for name, unit in self.units.items() if (unit or "").startswith("hw/")}
        library = {name for name in ours if self.units[name].startswith(LIBRARY)}
        return library | (set(self.units) - ours)

    def module(self, line):
        """Return the name of the module of a line, if that comes from `hw/`, or None."""
        module = self.modules.get(line)
        return module if (self.units.get(module) or "").startswith("hw/") else None


def _points(path):
    """Yield (fields, count) of each point of a file."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DamagedData(f"{path} cannot be read: {error}") from None
    if not lines or lines[0] != _HEADER:
        raise DamagedData(f"{path} must begin with {_HEADER!r}")
    for number, line in enumerate(lines[1:], 2):
        found = _POINT.match(line)
        if not found:
            raise DamagedData(f"{path}, line {number}: must be a point, not {line[:60]!r}")
        pairs = (part.split("\2", 1) for part in found[1].split("\1") if part)
        try:
            yield dict(pairs), int(found[2])
        except ValueError:
            raise DamagedData(f"{path}, line {number}: a field without a value") from None


def _numbers(text):
    """Yield the numbers of ranges like ``3,5-7``."""
    for part in text.split(","):
        first, _, last = part.partition("-")
        yield from range(int(first), int(last or first) + 1)


def collect(path):
    """Return file of `hw/` to its `Unit`, from what a simulator wrote.

    The Verilog, as `sim.coverage.emit` writes it, must still lie where it was built from.

    Raises
    ------
    DamagedData
        The file is not Verilator's, or the Verilog is missing.
    """
    files, units, toggles = {}, {}, {}
    for point, count in _points(Path(path)):
        try:
            file, line, kind = point["f"], int(point["l"]), point["t"]
            if not file.endswith(".v"):
                continue
            if file not in files:
                files[file] = _Verilog(Path(file))
            verilog = files[file]
            module = verilog.module(line)
            if module is None:
                continue
            unit = units.setdefault(verilog.units[module], Unit())
            if kind == "toggle":
                signals = toggles.setdefault((file, module), {})
                _note_toggle(signals, point["o"], count)
            else:
                for number in _numbers(point["S"]) if "S" in point else ():
                    for place in verilog.statements.get(number, ()):
                        if place.startswith("hw/"):
                            unit.reach(place, count)
        except (KeyError, ValueError, OSError) as error:
            raise DamagedData(f"{path}: a point that is none of ours: {error!r}") from None
    for file, verilog in files.items():
        seen = {module: signals for (one, module), signals in toggles.items() if one == file}
        kept = {module: _not_twice(signals) for module, signals in seen.items()}
        counted = one_of_each(verilog.wiring, kept, verilog.shared())
        for module, signals in seen.items():
            fixed = verilog.constants.get(module, {})
            for name in kept[module]:
                there, rose, fell = signals[name]
                free = there & ~fixed.get(name, 0)
                there &= counted.get(module, {}).get(name, 0)
                units[verilog.units[module]].toggle(name, there, rose, fell, free)
    return units


def _note_toggle(signals, text, count):
    """Note a point of Verilator: name of a signal to the masks of bits there, risen, fallen."""
    found = _TOGGLE.match(text)
    if not found:
        raise ValueError(text)
    # Verilator tells names as it keeps them, with the code of what C++ does not allow.
    name = _ENCODED.sub(lambda code: chr(int(code[1], 16)), found[1])
    there, rose, fell = signals.get(name, (0, 0, 0))
    bit = 1 << int(found[2] or 0)
    rises = found[3] == "0->1"
    edge = bit if count else 0
    signals[name] = (there | bit, rose | edge * rises, fell | edge * (not rises))


def _not_twice(signals):
    """Return the names but those whose bits all have another: Amaranth names fields as well."""
    parts = {}
    for name, (there, *_) in signals.items():
        for at, letter in enumerate(name):
            if letter in ".[" and name[:at] in signals:
                parts.setdefault(name[:at], {})[name] = there.bit_count()
    left = []
    for name, (there, *_) in signals.items():
        inside = parts.get(name, {})
        leaves = (width for one, width in inside.items() if one not in parts)
        if sum(leaves) != there.bit_count():
            left.append(name)
    return left


def folder():
    """Return the folder that `VARIABLE` names, relative to the repository, or None."""
    text = os.environ.get(VARIABLE)
    return ROOT / text if text else None


def keep(path, name, into):
    """Write what a simulator counted to ``<name>-<digest>.json`` of a folder; return its path."""
    units = collect(path)
    content = {
        file: {
            "lines": {place: int(hit) for place, hit in sorted(unit.lines.items())},
            "signals": {
                signal: [f"{bits:x}" for bits in masks]
                for signal, masks in sorted(unit.signals.items())
            },
        }
        for file, unit in sorted(units.items())
    }
    files = {*units, *(place.rpartition(":")[0] for u in units.values() for place in u.lines)}
    sources = {file: _digest(file) for file in sorted(files)}
    text = json.dumps({"run": name, "sources": sources, "units": content}, indent=0) + "\n"
    digest = hashlib.sha256(text.encode()).hexdigest()[:12]
    into.mkdir(parents=True, exist_ok=True)
    kept = into / f"{name}-{digest}.json"
    part = kept.with_suffix(".part")
    part.write_text(text)
    part.replace(kept)
    return kept


def _digest(file):
    """Return a digest of a source, by which its lines are known to be where they were."""
    path = ROOT / file
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16] if path.exists() else None


def _one_name(signals):
    """Return signals by the names that the source gives them, those of one name together.

    Amaranth numbers what has the same name, and the numbers depend on what a unit is a part of.
    """
    unit = Unit()
    for name, masks in signals.items():
        unit.toggle(_NUMBERED.sub("", name), *(int(bits, 16) for bits in masks))
    return unit.signals


def load(path):
    """Return file of `hw/` to its `Unit`, from what `keep` wrote.

    Units whose source changed since are left out, and so are lines of other sources that did.

    Raises
    ------
    DamagedData
        It is something else.
    """
    try:
        content = json.loads(Path(path).read_text())
        signals = [
            masks for unit in content["units"].values() for masks in unit["signals"].values()
        ]
        if any(len(masks) != 4 for masks in signals):
            raise ValueError("a signal must have four masks")
        same = {file for file, digest in content["sources"].items() if digest == _digest(file)}
        return {
            file: Unit(
                {
                    place: bool(hit)
                    for place, hit in unit["lines"].items()
                    if place.rpartition(":")[0] in same
                },
                _one_name(unit["signals"]),
            )
            for file, unit in content["units"].items()
            if file in same
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DamagedData(f"{path} is no coverage of ours: {error}") from None
