"""Estimates register-to-register paths of a netlist for an ECP5, before anything is placed.

Delays of cells are nextpnr's for speed grade 6; a connection's is guessed from its loads. On a full
device connections are longer: nextpnr's placement of the whole board is about twice as slow. It is
good for the order of the paths, and where they begin and end, seconds after synthesis.
"""

import math
import re
from collections import Counter
from dataclasses import dataclass

__all__ = ["Path", "slowest"]

_LUT, _CARRY, _SUM, _MUX, _MULTIPLY = 0.24, 0.04, 0.44, 0.17, 3.93  # ns
_FF, _RAM, _STAGE = 0.53, 5.73, 0.6  # from the clock: register, block RAM, registered multiplier
_CELL = re.compile(r"(_TRELLIS_FF_.*|_TRELLIS_DPR16X4.*|\$.*)$")
_WIRED = {"ALUT", "BLUT", "D0", "D1", "CIN"}  # inputs without routing before them


@dataclass(frozen=True, order=True)
class Path:
    """A path between two registers.

    Members
    -------
    delay : float
        Estimate, in nanoseconds.
    start, end : str
        Signals of the registers, or cells of memories and multipliers.
    depth : int
        Cells on the way.
    """

    delay: float
    start: str
    end: str
    depth: int


def _bits(cell, *ports):
    found = (bit for port in ports for bit in cell["connections"].get(port, []))
    return [bit for bit in found if not isinstance(bit, str)]


def _names(module):
    """Return bit to the best name of its signal: our own before those of the tools."""
    names = {}
    for name, net in module["netnames"].items():
        rank = (name.startswith("$"), "$a" in name, name.count("."), len(name))
        for bit in net["bits"]:
            if bit not in names or rank < names[bit][0]:
                names[bit] = (rank, name)
    return {bit: name for bit, (_, name) in names.items()}


def _registered(cell):
    modes = cell["parameters"]
    return {part for part in ("INPUTA", "PIPELINE", "OUTPUT")
            if modes.get(f"REG_{part}_CLK", "NONE") != "NONE"}  # fmt: skip


def _arcs(cell):
    """Yield (outputs, inputs, delay) of a cell's logic; delay None ends or begins a path there.

    An arc without inputs begins a path at the outputs; one without outputs ends it at the inputs.
    """
    kind, ports = cell["type"], cell["connections"]
    ways = cell["port_directions"]
    inputs = [port for port in ports if ways.get(port) == "input"]
    outputs = [port for port in ports if ways.get(port) == "output"]
    if kind == "TRELLIS_FF":
        yield ["Q"], [], _FF
        yield [], [port for port in inputs if port != "CLK"], 0.0
    elif kind == "LUT4":
        yield ["Z"], ["A", "B", "C", "D"], _LUT
    elif kind in ("PFUMX", "L6MUX21"):
        yield ["Z"], inputs, _MUX
    elif kind == "CCU2C":
        operands = [port for port in inputs if port != "CIN"]
        yield ["S0", "S1"], inputs, _SUM
        yield ["COUT"], operands, _SUM
        yield ["COUT"], ["CIN"], _CARRY
    elif kind == "DP16KD":
        yield outputs, [], _RAM
        yield [], [port for port in inputs if not port.startswith("CLK")], 0.2
    elif kind == "TRELLIS_DPR16X4":
        yield ["DO"], ["RAD"], _LUT
        yield [], ["WAD", "DI", "WRE"], 0.1
    elif kind == "MULT18X18D":
        operands = [port for port in inputs if re.fullmatch(r"[AB]\d+", port)]
        if stages := _registered(cell):
            yield outputs, [], _STAGE if "OUTPUT" in stages else _MULTIPLY
            yield [], operands, 0.3
        else:
            yield outputs, operands, _MULTIPLY


def slowest(module):
    """Return the slowest `Path` between each two registers, slowest first.

    Parameters
    ----------
    module : dict
        The flat top module of a design that ``synth_ecp5`` and ``write_json`` left.
    """
    names, loads = _names(module), Counter()
    into, starts, ends = {}, {}, []
    for name, cell in module["cells"].items():
        for port, way in cell["port_directions"].items():
            if way == "input":
                loads.update(_bits(cell, port))
        for outputs, inputs, delay in _arcs(cell):
            sources = [(bit, port in _WIRED) for port in inputs for bit in _bits(cell, port)]
            for bit in _bits(cell, *outputs):
                if inputs:
                    into.setdefault(bit, []).extend((source, *w, delay) for source, *w in sources)
                else:
                    starts[bit] = delay
            if not outputs:
                signal = _bits(cell, "Q")
                end = names[signal[0]] if signal else _CELL.sub("", name)
                ends += [(bit, end, delay) for bit, _ in sources]

    def routed(bit):
        return 0.45 + 0.16 * math.log2(1 + loads[bit])

    reached = {bit: (delay, bit, 0) for bit, delay in starts.items()}
    visiting = set()

    def reach(goal):
        """Find the latest arrival at a bit; a stack, since chains are longer than Python's."""
        stack = [goal]
        while stack:
            bit = stack[-1]
            if bit in reached:
                stack.pop()
            elif bit in visiting or bit not in into:
                best = (0.0, bit, 0)
                for source, wired, delay in into.get(bit, ()):
                    if source in reached:
                        at, start, depth = reached[source]
                        at += delay + (0.0 if wired else routed(source))
                        best = max(best, (at, start, depth + 1), key=lambda one: one[0])
                reached[stack.pop()] = best
            else:
                visiting.add(bit)
                stack += [source for source, *_ in into[bit] if source not in reached]
        return reached[goal]

    found = {}
    for bit, end, setup in ends:
        at, start, depth = reach(bit)
        path = Path(at + routed(bit) + setup, names.get(start, "?"), end, depth)
        key = (path.start, path.end)
        found[key] = max(path, found.get(key, path))
    return sorted(found.values(), reverse=True)
