"""Trees of buffers behind what drives many cells: ABC leaves flip-flops and ports alone."""

import re
from collections import defaultdict
from dataclasses import replace

__all__ = ["LIMIT", "buffered"]

#: Cells of its own module that anything drives at most, but the clock.
LIMIT = 24

#: Of the buffers by area, the one that is taken: a strong one, and not yet a dear one.
CHOICE = 2

_INSTANCE = re.compile(r"  (\w+) (\S+) \((.*)\);")
_PIN = re.compile(r"\.(\w+)\(([^(){}]*)\)")


def _buffer(library):
    """Return (type, input, output) of the buffer to use, or None."""
    found = sorted(
        (cell.area, name) for name, cell in library.cells.items() if cell.computes((0, 1))
    )
    if not found:
        return None
    name = found[min(CHOICE, len(found) - 1)][1]
    return name, library.cells[name].inputs[0], library.cells[name].outputs[0]


def _chunks(items, limit):
    """Return as few parts as it takes, of about the same length."""
    count = -(-len(items) // limit)
    return [items[number::count] for number in range(count)]


def buffered(mapped, library, limit=LIMIT):
    """Return a `cells.Mapped` in which nothing drives more cells than ``limit``.

    The clock and constants may.
    """
    buffer = _buffer(library)
    if buffer is None:
        return mapped
    kind, into, out = buffer
    lines, sinks, still = mapped.verilog.splitlines(), defaultdict(list), set()
    for number, line in enumerate(lines):
        instance = _INSTANCE.fullmatch(line)
        if instance and instance[1] in library.cells:
            inputs = library.cells[instance[1]].inputs
            if not inputs:  # a constant may take its time
                still |= {net for _, net in _PIN.findall(instance[3])}
            for pin, net in _PIN.findall(instance[3]):
                if pin in inputs and "'" not in net and net.partition("$")[0] != "clk":
                    sinks[net].append((number, pin))
    wires, first = [], len(lines)
    for net, places in sinks.items():
        while len(places) > limit and net not in still:
            trunk = []
            for part in _chunks(places, limit):
                branch = f"fanout${len(wires)}"
                wires.append(f"  wire {branch};")
                for number, pin in part:
                    lines[number] = lines[number].replace(f".{pin}({net})", f".{pin}({branch})")
                trunk.append((len(lines), into))
                lines.append(f"  {kind} {branch}_buffer (.{into}({net}), .{out}({branch}));")
            places = trunk
    cells = dict(mapped.cells)
    if wires:
        cells[kind] = cells.get(kind, 0) + len(wires)
    last = lines.pop(first - 1)
    text = "\n".join([lines[0], *wires, *lines[1:], last]) + "\n"
    return replace(mapped, cells=cells, verilog=text)
