"""Mutants of a netlist: a seeded sample, all in one Verilog file, one at a time in force."""

import json
import re
from dataclasses import dataclass, replace
from pathlib import Path

from scripts.synth.design import ROOT, write_whole
from scripts.synth.yosys import ToolError, run_yosys

__all__ = ["SELECT", "TOP", "Mutation", "apply_all", "ports", "sample"]

TOP = "dut"

#: Input port that says which mutant is in force; 0 for none.
SELECT = "mutant_select"

#: To one module of words, with what synthesis would throw away thrown away; resets stay cells.
PREPARE = (
    f"hierarchy -top {TOP}", "proc", "flatten", "opt_expr", "opt_clean", "wreduce",
    "opt -nodffe -nosdff", "memory_collect", "opt_clean",
)  # fmt: skip

_INITIAL = re.compile(r"^( *attribute \\init \d+')([01]+)$", re.M)
_FLIPPED = str.maketrans("01", "10")

_OPTION = re.compile(r"-(\w+) (\S+)")
_CLOCKS = ("CLK", "RD_CLK", "WR_CLK")


@dataclass(frozen=True, kw_only=True)
class Mutation:
    """A change of one bit of one port of a cell.

    Members
    -------
    number : int
        Its value of `SELECT`.
    mode : str
        ``inv``, ``const0``, ``const1``, ``cnot0`` or ``cnot1``, as `mutate` of Yosys calls them.
    cell, kind, port : str
        The cell, its type, and its port.
    bit, control : int
        The bit of the port; the bit that decides with ``cnot``, else None.
    names : tuple of str
        Signals at that bit, and at the outputs of the cell.
    sources : tuple of str
        Lines of the RTL that it comes from, as ``hw/x.py:12``.
    """

    number: int
    mode: str
    cell: str
    kind: str
    port: str
    bit: int
    control: int | None
    names: tuple
    sources: tuple

    @property
    def place(self):
        """What is changed: ``$mux S[0] const1``."""
        return f"{self.kind} {self.port}[{self.bit}] {self.mode}"

    def describe(self):
        """Return where it is: its signals, and the text of its lines of the RTL.

        A change of the RTL elsewhere leaves that as it is, unlike names of cells and line numbers.
        """
        result = [", ".join(self.names)] if self.names else []
        for source in self.sources:
            name, _, number = source.partition(":")
            path = ROOT / name
            text = path.read_text().splitlines() if path.is_relative_to(ROOT) else []
            at = int(re.match(r"\d+", number)[0]) - 1
            if name.startswith("hw/") and at < len(text):
                result.append(f"{name}: {text[at].strip()}")
        return " | ".join(result)

    def command(self, *, width=None):
        """Return the Yosys command; with a width, in force only while it is selected."""
        control = f"-ctrl {SELECT} {width} {self.number} " if width else ""
        decides = "" if self.control is None else f" -ctrlbit {self.control}"
        return (
            f"mutate {control}-mode {self.mode} -module {TOP} -cell {self.cell} "
            f"-port {self.port} -portbit {self.bit}{decides}"
        )


def sample(text, folder, *, count, seed):
    """Return so many mutations of an RTLIL text, in the order of the sample.

    Mutants of clocks are left out, and those that replace a constant by itself. The netlist that
    they are of stays in the folder as ``plain.il``.

    Raises
    ------
    ToolError
        Yosys refuses the text, or the netlist has fewer mutants.
    """
    folder = Path(folder)
    # Every register begins as the opposite of what a reset makes it: a missing reset is seen.
    flipped = _INITIAL.sub(lambda match: match[1] + match[2].translate(_FLIPPED), text)
    write_whole(folder / "unit.il", flipped)
    wanted = 2 * count + 50
    run_yosys(
        [
            "read_rtlil unit.il", *PREPARE, "write_rtlil plain.il", "write_json plain.json",
            f"mutate -list {wanted} -seed {seed} -o list.txt",
        ],
        folder,
        log="sample.log",
    )  # fmt: skip
    netlist = json.loads((folder / "plain.json").read_text())["modules"][TOP]
    names, drivers = _names(netlist), _drivers(netlist)
    found = []
    for line in (folder / "list.txt").read_text().splitlines():
        mutation = _parse(line, len(found) + 1, netlist["cells"], names)
        if mutation is not None and len(found) < count:
            found.append(_with_condition(mutation, netlist["cells"], drivers))
    if len(found) < count:
        raise ToolError(f"the netlist has only {len(found)} mutants, not {count}")
    return found


def _drivers(netlist):
    """Return the cell that drives each bit."""
    return {
        bit: cell
        for cell in netlist["cells"].values()
        for port, way in cell["port_directions"].items()
        if way == "output"
        for bit in cell["connections"][port]
    }


def _names(netlist):
    """Return the signals of each bit: its number to names in the words of the RTL."""
    result = {}
    for name, net in netlist["netnames"].items():
        if not net["hide_name"]:
            for bit in net["bits"]:
                result.setdefault(bit, set()).add(name)
    return result


def _parse(line, number, cells, names):
    options = {}
    sources = []
    for key, value in _OPTION.findall(line):
        if key == "src":
            sources += _sources(value)
        else:
            options[key] = value
    name, port, bit, mode = (options[key] for key in ("cell", "port", "portbit", "mode"))
    cell = cells[name]
    before = cell["connections"][port][int(bit)]
    if port in _CLOCKS or mode == f"const{before}" or before == "x":
        return None
    near = {before}
    for output, way in cell["port_directions"].items():
        if way == "output":
            near.update(cell["connections"][output])
    near = {name for bit in near if isinstance(bit, int) for name in names.get(bit, ())}
    return Mutation(
        number=number,
        mode=mode,
        cell=name,
        kind=cell["type"],
        port=port,
        bit=int(bit),
        control=int(options["ctrlbit"]) if "ctrlbit" in options else None,
        names=tuple(sorted(near)),
        sources=tuple(sorted(sources)),
    )


def _with_condition(mutation, cells, drivers):
    """Return a mutation of a multiplexer with the lines of what selects: its own are often lost."""
    select = cells[mutation.cell]["connections"].get("S", ())
    lines = {
        source
        for bit in select
        if bit in drivers
        for source in _sources(drivers[bit]["attributes"].get("src", ""))
    }
    return replace(mutation, sources=tuple(sorted({*mutation.sources, *lines})))


def _sources(text):
    return [source.replace(f"{ROOT}/", "") for source in text.split("|") if source]


def apply_all(mutations, folder):
    """Write ``mutants.v`` into the folder of the sample: all mutants, chosen by a port."""
    width = max(1, len(mutations).bit_length())
    script = "\n".join(mutation.command(width=width) for mutation in mutations)
    write_whole(folder / "mutate.ys", script + "\n")
    run_yosys(
        ["read_rtlil plain.il", "script mutate.ys", "opt_clean",
         "write_verilog -norename -noattr mutants.v"],
        folder,
        log="apply.log",
    )  # fmt: skip
    return folder / "mutants.v"


def ports(folder):
    """Return the names of the inputs and of the outputs of the netlist in a folder."""
    found = json.loads((folder / "plain.json").read_text())["modules"][TOP]["ports"]
    return tuple(
        [name for name, port in found.items() if port["direction"] == way]
        for way in ("input", "output")
    )
