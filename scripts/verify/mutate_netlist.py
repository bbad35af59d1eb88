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

#: Words without registers' initial values: what a reset must set begins at random.
PREPARE = (
    f"hierarchy -top {TOP}", "proc", "flatten", "opt_expr", "opt_clean", "wreduce", "opt",
    "memory_collect", "opt_clean", "setattr -unset init w:*",
)  # fmt: skip

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
    wire : str
        Name and bit of the signal there, or an empty string.
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
    wire: str
    sources: tuple

    @property
    def place(self):
        """What is changed, in words that an unrelated change of the RTL leaves alone."""
        return f"{self.kind} {self.port}[{self.bit}] {self.mode}"

    def lines(self):
        """Return the lines of the RTL: file, and its text."""
        result = []
        for source in self.sources:
            name, _, number = source.partition(":")
            text = (ROOT / name).read_text().splitlines()
            at = int(re.match(r"\d+", number)[0]) - 1
            result.append(f"{name}: {text[at].strip() if at < len(text) else ''}")
        return result

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
    write_whole(folder / "unit.il", text)
    wanted = 2 * count + 50
    run_yosys(
        [
            "read_rtlil unit.il", *PREPARE, "write_rtlil plain.il", "write_json plain.json",
            f"mutate -list {wanted} -seed {seed} -o list.txt",
        ],
        folder,
        log="sample.log",
    )  # fmt: skip
    cells = json.loads((folder / "plain.json").read_text())["modules"][TOP]["cells"]
    found = []
    for line in (folder / "list.txt").read_text().splitlines():
        mutation = _parse(line, len(found) + 1, cells)
        if mutation is not None and len(found) < count:
            found.append(mutation)
    if len(found) < count:
        raise ToolError(f"the netlist has only {len(found)} mutants, not {count}")
    return found


def _parse(line, number, cells):
    options = {}
    sources = []
    for key, value in _OPTION.findall(line):
        if key == "src":
            sources += value.split("|")
        else:
            options[key] = value
    name, port, bit, mode = (options[key] for key in ("cell", "port", "portbit", "mode"))
    cell = cells[name]
    before = cell["connections"][port][int(bit)]
    if port in _CLOCKS or mode == f"const{before}" or before == "x":
        return None
    wire = f"{options['wire']}[{options['wirebit']}]" if "wire" in options else ""
    return Mutation(
        number=number,
        mode=mode,
        cell=name,
        kind=cell["type"],
        port=port,
        bit=int(bit),
        control=int(options["ctrlbit"]) if "ctrlbit" in options else None,
        wire=wire,
        sources=tuple(sorted(source.replace(f"{ROOT}/", "") for source in sources)),
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
