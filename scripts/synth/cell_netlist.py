"""A module of standard cells, from Yosys' JSON to the plain Verilog that OpenSTA reads."""

import re
from collections import Counter

__all__ = ["bus", "is_clock", "joined", "netlist"]

_BOX = re.compile(r"box\d+")
_BOX_CELL = re.compile(r"^  (box\d+) (\S+ )(.*)$", re.M)
_PIN = re.compile(r"\.p(\d+)\(")
#: What Yosys appends to the name of a flip-flop's signal, and Amaranth's numbers.
_MADE = re.compile(r"_?\$_[A-Z].*|\$\d+")
_CONSTANTS = {"0": "1'b0", "1": "1'b1", "x": "1'b0", "z": "1'b0"}


def is_clock(net):
    """Return whether a port or net is a clock: ``clk``, or ``<domain>_clk``."""
    name = net.partition("$")[0]
    return name == "clk" or name.endswith("_clk")


def _plain(name):
    """Return a name that needs no escape."""
    name = re.sub(r"[^\w$]", "_", name)
    return name if re.match(r"[A-Za-z_]", name) else f"_{name}"


class _Names:
    """Gives each name once."""

    def __init__(self):
        self.taken = set()

    def new(self, wish):
        name, number = wish, 0
        while name in self.taken:
            number += 1
            name = f"{wish}_{number}"
        self.taken.add(name)
        return name


def _port_bits(name, port):
    width = len(port["bits"])
    return [f"{_plain(name)}[{i}]" if width > 1 else _plain(name) for i in range(width)]


def _named(module, names):
    """Return bit to net, the nets that are not ports, and assignments to outputs."""
    nets, wires, assigns = dict(_CONSTANTS), [], []
    names.taken |= {_plain(name) for name in module["ports"]}
    for name, port in sorted(module["ports"].items(), key=lambda item: item[1]["direction"]):
        for bit, net in zip(port["bits"], _port_bits(name, port), strict=True):
            if bit in nets and port["direction"] == "output":
                assigns.append(f"  assign {net} = {nets[bit]};")
            nets.setdefault(bit, net)
    public = sorted(
        module["netnames"].items(), key=lambda item: (item[1]["hide_name"], len(item[0]))
    )
    for name, wire in public:
        for index, bit in enumerate(wire["bits"]):
            if bit not in nets:
                label = f"n{bit}" if wire["hide_name"] else f"{_plain(name)}_{index}"
                nets[bit] = names.new(label)
                wires.append(nets[bit])
    for cell in module["cells"].values():
        for bit in (bit for bits in cell["connections"].values() for bit in bits):
            if bit not in nets:
                nets[bit] = names.new(f"n{bit}")
                wires.append(nets[bit])
    return nets, wires, assigns


def _memory(cell):
    """Return what a memory is, and the type of its black box."""
    sizes = {
        name: int(cell["parameters"][name], 2) for name in ("SIZE", "WIDTH", "RD_PORTS", "WR_PORTS")
    }
    depth, width, reads, writes = sizes.values()
    name = cell["parameters"]["MEMID"].lstrip("\\")
    kind = f"memory_{depth}x{width}_{reads}r{writes}w"
    return {"name": name, "depth": depth, "width": width, "written": writes > 0}, kind


def _wish(kind, own, library):
    """Return what an instance would best be called."""
    known = library.cells.get(kind)
    if known is None:
        return _plain(own)
    if known.kind != "ff":
        return "g"
    return _plain(_MADE.sub("", own)).rstrip("_") + "_reg"


def netlist(module, ports, library):
    """Return what `cells.Mapped` has, of a module that Yosys mapped.

    Parameters
    ----------
    module : dict
        From Yosys' JSON.
    ports : dict
        ``unit`` and each ``box<n>`` in it to the names of ports in order.
    library : liberty.Library

    Raises
    ------
    ValueError
        A cell that the library has not.
    """
    names, counts, memories, instances = _Names(), Counter(), [], []
    nets, wires, assigns = _named(module, names)
    for own, cell in module["cells"].items():
        kind, pins = cell["type"], {pin: _plain(pin) for pin in cell["connections"]}
        if kind == "$mem_v2":
            memory, kind = _memory(cell)
            memories.append(memory)
        elif _BOX.fullmatch(kind):
            counts[kind] += 1
            pins = {pin.removeprefix("\\"): f"p{number}" for number, pin in enumerate(ports[kind])}
        elif kind in library.cells:
            counts[kind] += 1
        else:
            raise ValueError(f"the library {library.name} has no cell for {kind}")
        connected = ", ".join(
            f".{pins[pin]}({bus([nets[bit] for bit in bits])})"
            for pin, bits in cell["connections"].items()
            if bits
        )
        instances.append(f"  {kind} {names.new(_wish(kind, own, library))} ({connected});")
    listed = [_plain(name.removeprefix("\\")) for name in ports["unit"]]
    declared = []
    for name, port in module["ports"].items():
        width = len(port["bits"])
        span = f"[{width - 1}:0] " if width > 1 else ""
        declared.append(f"  {port['direction']} {span}{_plain(name)};")
    declared += [f"  wire {wire};" for wire in wires]
    lines = [f"module unit ({', '.join(listed)});", *declared, *assigns, *instances, "endmodule"]
    return dict(counts), memories, listed, "\n".join(lines) + "\n"


def bus(nets):
    """Return nets, the lowest bit first, as Verilog connects them."""
    return nets[0] if len(nets) == 1 else "{" + ", ".join(reversed(nets)) + "}"


def joined(top, found, mapped):
    """Return Verilog of a module with all that it holds; the top is called ``unit``.

    Parameters
    ----------
    top : str
        Name of the module.
    found : dict
        From `design.modules`.
    mapped : dict
        From `cells.map_modules`.
    """
    written, parts = {}, []

    def write(name):
        """Return what the module is called, and write it unless one with the same text was."""
        children = list(dict.fromkeys(found[name].children))
        kinds = {f"box{number}": (write(child), child) for number, child in enumerate(children)}

        def instance(match):
            kind, child = kinds[match[1]]
            ports = mapped[child].ports
            pins = _PIN.sub(lambda pin: f".{ports[int(pin[1])]}(", match[3])
            return f"  {kind} {match[2]}{pins}"

        body = _BOX_CELL.sub(instance, mapped[name].verilog).removeprefix("module unit ")
        if body not in written:
            written[body] = "unit" if name == top else f"unit_{len(written)}"
            parts.append(f"module {written[body]} {body}")
        return written[body]

    write(top)
    return "\n".join(parts)
