"""Trees of buffers behind what drives many cells: ABC leaves flip-flops and ports alone."""

import re
from collections import defaultdict
from dataclasses import replace

from .cell_netlist import bus, is_clock

__all__ = ["LIMIT", "buffered", "driven", "loads"]

#: Cells that anything drives at most, but the clock: those of its module, and in what that holds
#: those that a port drives there.
LIMIT = 24

#: Of the buffers by area, the one that is taken: a strong one, and not yet a dear one.
CHOICE = 2

_INSTANCE = re.compile(r"  (\w+) (\S+) \((.*)\);")
_PIN = re.compile(r"\.(\w+)\((\{[^{}]*\}|[^(){}]*)\)")
_INPUT = re.compile(r"^  input (?:\[(\d+):0\] )?(\S+);$", re.M)


def _buffer(library):
    """Return (type, input, output) of the buffer to use, or None."""
    found = sorted(
        (cell.area, name) for name, cell in library.cells.items() if cell.computes((0, 1))
    )
    if not found:
        return None
    name = found[min(CHOICE, len(found) - 1)][1]
    return name, library.cells[name].inputs[0], library.cells[name].outputs[0]


def _parts(places, limit):
    """Return places, the last of each its load, as about as few parts of about the same load."""
    count = -(-sum(place[-1] for place in places) // limit)
    parts, sums = [[] for _ in range(count)], [0] * count
    for place in sorted(places, key=lambda place: -place[-1]):
        number = sums.index(min(sums))
        if parts[number] and sums[number] + place[-1] > limit:
            number = len(parts)
            parts.append([])
            sums.append(0)
        parts[number].append(place)
        sums[number] += place[-1]
    return [part for part in parts if part]


def _instances(lines, library, below):
    """Return number of a line to (type, name, pins) of the instance there.

    A pin is its name and a list of nets, the highest bit first.
    """
    found = {}
    for number, line in enumerate(lines):
        match = _INSTANCE.fullmatch(line)
        if match and (match[1] in library.cells or match[1] in below):
            pins = [(pin, nets.strip("{}").split(", ")) for pin, nets in _PIN.findall(match[3])]
            found[number] = match[1], match[2], pins
    return found


def _sinks(instances, library, below):
    """Return net to its places: (line, number of the pin, number of the net there, load).

    Clocks and constants have none.
    """
    sinks, still = defaultdict(list), set()
    for line, (kind, _, pins) in instances.items():
        if kind in below:
            weights = {f"p{number}": bits for number, bits in below[kind].items()}
        else:
            weights = dict.fromkeys(library.cells[kind].inputs, [1])
            if not weights:  # a constant may take its time
                still |= {net for _, nets in pins for net in nets}
        for index, (pin, nets) in enumerate(pins):
            for bit, (net, load) in enumerate(zip(nets, weights.get(pin, ()), strict=False)):
                if load and net and "'" not in net and not is_clock(net):
                    sinks[net].append((line, index, bit, load))
    return {net: places for net, places in sinks.items() if net not in still}


def loads(mapped, library, below=None):
    """Return what inputs of a `cells.Mapped` drive: number of the port to cells behind each bit.

    The highest bit comes first. ``below`` is as of `buffered`.
    """
    below = below or {}
    text = mapped.verilog
    sinks = _sinks(_instances(text.splitlines(), library, below), library, below)
    behind = {}
    for high, name in _INPUT.findall(text):
        bits = [f"{name}[{bit}]" for bit in reversed(range(int(high) + 1))] if high else [name]
        behind[mapped.ports.index(name)] = [
            sum(place[-1] for place in sinks.get(bit, ())) for bit in bits
        ]
    return behind


def buffered(mapped, library, limit=LIMIT, below=None):
    """Return a `cells.Mapped` in which nothing drives more cells than ``limit``.

    The clock and constants may.

    Parameters
    ----------
    mapped : cells.Mapped
    library : liberty.Library
    limit : int
        2 or more.
    below : dict
        ``box<n>`` to what `loads` says of the module there; by default none is looked into.
    """
    below, buffer = below or {}, _buffer(library)
    if buffer is None:
        return mapped
    kind, into, out = buffer
    lines = mapped.verilog.splitlines()
    instances = _instances(lines, library, below)
    wires, first, changed = [], len(lines), set()
    for net, places in _sinks(instances, library, below).items():
        while sum(place[-1] for place in places) > limit:
            trunk = []
            for part in _parts(places, limit):
                branch = f"fanout${len(wires)}"
                wires.append(f"  wire {branch};")
                for line, index, bit, _ in part:
                    instances[line][2][index][1][bit] = branch
                    changed.add(line)
                trunk.append((len(lines), 0, 0, 1))
                changed.add(len(lines))
                instances[len(lines)] = (
                    kind, f"{branch}_buffer", [(into, [net]), (out, [branch])]
                )  # fmt: skip
                lines.append("")
            places = trunk
    for line in changed:
        cell, name, pins = instances[line]
        written = ", ".join(f".{pin}({bus(nets[::-1])})" for pin, nets in pins)
        lines[line] = f"  {cell} {name} ({written});"
    cells = dict(mapped.cells)
    if wires:
        cells[kind] = cells.get(kind, 0) + len(wires)
    last = lines.pop(first - 1)
    text = "\n".join([lines[0], *wires, *lines[1:], last]) + "\n"
    return replace(mapped, cells=cells, verilog=text)


def driven(found, mapped, library, limit=LIMIT):
    """Return modules `buffered`, in which a net counts what it drives further down.

    Parameters
    ----------
    found : dict
        From `design.modules`.
    mapped : dict
        Name to `cells.Mapped`. What others hold and is not in it is not looked into.
    library : liberty.Library
    limit : int
        2 or more.
    """
    results, below, known = {}, {}, {}

    def drive(name):
        if name in results:
            return
        boxes = {}
        for number, child in enumerate(dict.fromkeys(found[name].children)):
            if child in mapped:
                drive(child)
                boxes[f"box{number}"] = below[child]
        key = mapped[name].verilog, repr(boxes)
        if key not in known:
            result = buffered(mapped[name], library, limit, boxes)
            known[key] = result, loads(result, library, boxes)
        results[name], below[name] = known[key]

    for name in mapped:
        drive(name)
    return results
