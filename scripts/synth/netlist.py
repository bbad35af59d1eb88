"""Checks on the whole chip as one netlist: drivers, loops, latches, registers nobody reads."""

import json
import re

from .design import TOP, unit_name
from .finding import Finding
from .yosys import run_yosys

__all__ = ["check_netlist", "constant_inputs"]

_LATCHES = {"$dlatch", "$adlatch", "$dlatchsr", "$sr"}
_REGISTERS = {"$dff", "$dffe", "$adff", "$adffe", "$sdff", "$sdffe", "$sdffce"}
_CONSTANT = re.compile(r"^connect \\(\S+) (\d+'[01x-]+)$", re.M)
_NUMBER = re.compile(r"\$\d+")
_PROBLEMS = re.compile(r"Found and reported (\d+) problems")


def check_netlist(path, folder, *, top=TOP):
    """Return the findings in an RTLIL file.

    Everything that Yosys' ``check -assert`` would stop at, any other warning of Yosys, latches,
    registers of which no bit has a way to a port, and memories that are never read.

    Parameters
    ----------
    path : Path
        RTLIL.
    folder : Path
        For what Yosys writes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "in.il").write_text(path.read_text())
    log = run_yosys(
        [
            "read_rtlil in.il",
            f"hierarchy -check -top {top}",
            "proc -noopt",  # nothing may be tidied away before it was looked at
            "flatten",
            "tee -q -o check.txt check",
            "memory_collect",
            "write_json out.json",
        ],
        folder,
    )
    report = (folder / "check.txt").read_text()
    # A loop is told in several lines; those behind the first are indented.
    warnings = re.findall(r"^Warning: (.*(?:\n +.*)*)", log + report, re.M)
    unit = unit_name(top)
    findings = [Finding("yosys", unit, re.sub(r"\s+", " ", text).strip()) for text in warnings]
    count = int(_PROBLEMS.search(report)[1])
    if count and not findings:
        findings.append(Finding("yosys", unit, f"check reports {count} problems"))
    netlist = json.loads((folder / "out.json").read_text())["modules"][top]
    return findings + _latches(netlist, top) + _unread(netlist, top)


def _named(netlist):
    """Return bit to the shortest public name of a wire that has it."""
    names = {}
    for name, net in netlist["netnames"].items():
        if net.get("hide_name"):
            continue
        for bit in net["bits"]:
            if bit not in names or len(name) < len(names[bit]):
                names[bit] = name
    return names


def _split(name, top):
    """Return unit and signal of a name in the flat design."""
    unit, _, signal = _NUMBER.sub("", name.lstrip("\\")).rpartition(".")
    return unit_name(f"{top}.{unit}" if unit else top), signal


def _place(names, bits, fallback, top):
    return _split(next((names[bit] for bit in bits if bit in names), fallback), top)


def _latches(netlist, top):
    names = _named(netlist)
    findings = []
    for name, cell in netlist["cells"].items():
        if cell["type"] in _LATCHES:
            unit, signal = _place(names, cell["connections"]["Q"], name, top)
            findings.append(Finding("latch", unit, signal))
    return findings


def _unread(netlist, top):
    """Walk back from the outputs; what is never met has no effect."""
    names, cells = _named(netlist), netlist["cells"]
    drivers = {}
    for name, cell in cells.items():
        for port, bits in cell["connections"].items():
            if cell["port_directions"][port] == "output":
                drivers.update(dict.fromkeys(bits, name))
    ports = netlist["ports"].values()
    waiting = [bit for port in ports if port["direction"] != "input" for bit in port["bits"]]
    met_bits, met = set(waiting), set()
    while waiting:
        name = drivers.get(waiting.pop())
        if name is None or name in met:
            continue
        met.add(name)
        cell = cells[name]
        for port, bits in cell["connections"].items():
            if cell["port_directions"][port] == "input":
                waiting += [bit for bit in bits if bit not in met_bits]
                met_bits.update(bits)
    findings = []
    for name, cell in cells.items():
        if name in met:
            continue
        if cell["type"] in _REGISTERS:
            unit, signal = _place(names, cell["connections"]["Q"], name, top)
            findings.append(Finding("unread", unit, f"register {signal}"))
        elif cell["type"] == "$mem_v2":
            unit, memory = _split(cell["parameters"]["MEMID"], top)
            findings.append(Finding("unread", unit, f"memory {memory}"))
    return findings


def constant_inputs(found):
    """Return a finding for each signal of a module that is tied to a constant.

    Amaranth makes an unconnected input a constant inside the unit that has it; one that is tied to
    a constant on purpose looks the same.

    Parameters
    ----------
    found : dict
        Of `design.modules`.
    """
    return [
        Finding("constant", module.unit, f"{_NUMBER.sub('', signal)} = {value}")
        for module in found.values()
        for signal, value in _CONSTANT.findall(module.text)
        if _NUMBER.sub("", signal)
    ]
