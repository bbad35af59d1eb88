"""Mutants of a netlist: a seeded sample, all in one Verilog file, one at a time in force."""

import json
import re
from dataclasses import dataclass
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

#: Mutants to list for one that is wanted, where most are in other units.
_MORE = 40

_OPTION = re.compile(r"-(\w+) (\S+)")

#: How far a cell without a name is looked for one.
_HOPS = 3
#: Left as they are: clocks, and resets of memories' outputs, which Amaranth's memories do not have.
_LEFT = ("CLK", "RD_CLK", "WR_CLK", "RD_ARST", "RD_SRST")


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
            if not name.startswith(".venv") and at < len(text):
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


def sample(text, folder, *, count, seed, outside=frozenset()):
    """Return so many mutations of an RTLIL text, in the order of the sample.

    Mutants of clocks and of resets of memories' outputs are left out, and those that replace a
    constant by itself; so are those in ``outside``, instances as ``matmul.feeder``, or `TOP`. The
    netlist that they are of stays in the folder as ``plain.il``.

    Raises
    ------
    ToolError
        Yosys refuses the text, or the netlist has fewer mutants.
    """
    folder = Path(folder)
    # Every register begins as the opposite of what a reset makes it: a missing reset is seen.
    flipped = _INITIAL.sub(lambda match: match[1] + match[2].translate(_FLIPPED), text)
    write_whole(folder / "unit.il", flipped)
    wanted = (_MORE if outside else 2) * count + 50
    run_yosys(
        [
            "read_rtlil unit.il", *PREPARE, "write_rtlil plain.il", "write_json plain.json",
            f"mutate -list {wanted} -seed {seed} -o list.txt",
        ],
        folder,
        log="sample.log",
    )  # fmt: skip
    netlist = _Netlist(json.loads((folder / "plain.json").read_text())["modules"][TOP])
    found = []
    for line in (folder / "list.txt").read_text().splitlines():
        if len(found) == count:
            break
        mutation = _parse(line, len(found) + 1, netlist, outside)
        if mutation is not None:
            found.append(mutation)
    if len(found) < count:
        raise ToolError(f"the netlist has only {len(found)} mutants, not {count}")
    return found


class _Netlist:
    """Who drives and who reads each bit, and what it is called in the RTL."""

    def __init__(self, netlist):
        self.cells = netlist["cells"]
        self.drivers, self.readers, self.names = {}, {}, {}
        for cell in self.cells.values():
            for port, way in cell["port_directions"].items():
                for bit in cell["connections"][port]:
                    if way == "output":
                        self.drivers[bit] = cell
                    else:
                        self.readers.setdefault(bit, []).append(cell)
        for name, net in netlist["netnames"].items():
            if not net["hide_name"]:
                for bit in net["bits"]:
                    self.names.setdefault(bit, set()).add(name)

    def _called(self, bits):
        return {name for bit in bits if isinstance(bit, int) for name in self.names.get(bit, ())}

    def near(self, cell, bit):
        """Return the names at a bit of a cell, and at its outputs or behind what reads them."""
        found, bits = set(), _outputs(cell)
        for _ in range(_HOPS):
            found = self._called(bits)
            if found:
                break
            # Each once: from hop to hop a bit is reached in many ways.
            readers = {id(one): one for at in bits for one in self.readers.get(at, ())}
            bits = list(dict.fromkeys(after for one in readers.values() for after in _outputs(one)))
        return tuple(sorted(found | self._called([bit])))

    def sources(self, cell):
        """Return the lines of a cell and of what selects: those of multiplexers are often lost."""
        selects = [self.drivers.get(bit) for bit in cell["connections"].get("S", ())]
        return {
            source.replace(f"{ROOT}/", "")
            for one in (cell, *filter(None, selects))
            for source in one["attributes"].get("src", "").split("|")
            if source
        }


def _is_in(cell, places):
    """Return whether a cell of the flat netlist is in one of some instances; `TOP`: in none."""
    # Amaranth numbers an instance that has the name of a signal: ``activation$27``.
    name = re.sub(r"\$\d+\.", ".", cell.removeprefix("$flatten").replace("\\", ""))
    if "." not in name:
        return TOP in places
    return any(name.startswith(f"{place}.") for place in places)


def _outputs(cell):
    ways = cell["port_directions"]
    return [bit for port in ways if ways[port] == "output" for bit in cell["connections"][port]]


def _parse(line, number, netlist, outside):
    options = dict(_OPTION.findall(line))
    name, port, bit, mode = (options[key] for key in ("cell", "port", "portbit", "mode"))
    if _is_in(name, outside):
        return None
    cell = netlist.cells[name]
    before = cell["connections"][port][int(bit)]
    if port in _LEFT or mode == f"const{before}" or before == "x":
        return None
    if port == "RD_EN" and cell["parameters"]["RD_CLK_ENABLE"][-1 - int(bit)] == "0":
        return None  # what is read without a clock has no enable
    return Mutation(
        number=number,
        mode=mode,
        cell=name,
        kind=cell["type"],
        port=port,
        bit=int(bit),
        control=int(options["ctrlbit"]) if "ctrlbit" in options else None,
        names=netlist.near(cell, before),
        sources=tuple(sorted(netlist.sources(cell))),
    )


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
