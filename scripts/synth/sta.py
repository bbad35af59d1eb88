"""Timing of a netlist of standard cells, by OpenSTA."""

import re
import shutil
import subprocess
from dataclasses import dataclass

from .yosys import ToolError

__all__ = ["Timing", "sta_version", "timing"]

TOOL = "sta"
LONG = 1000  #: ns: a clock for the calculation; the shortest period does not depend on it

_SLACK = re.compile(r"(-?[\d.]+)\s+slack")
_POINT = r"^{0}: (\S+)"
# A black box is a memory, which has no timing.
_FAULT = re.compile(r"^(?:Error|Warning): (?!.*\bblack box\b).*$", re.M)


@dataclass(frozen=True)
class Timing:
    """The slowest path from register to register.

    Members
    -------
    period : float
        Shortest clock period, in nanoseconds.
    start, end : str
        Registers: ``array.element_0_0.product_7``.
    """

    period: float
    start: str
    end: str

    @property
    def mhz(self):
        """Highest clock, in megahertz."""
        return 1000 / self.period


def sta_version():
    """Return the tool's name and version, or None if it is not installed."""
    if shutil.which(TOOL) is None:
        return None
    done = subprocess.run([TOOL, "-version"], capture_output=True, text=True)
    return f"OpenSTA {done.stdout.strip()}"


def _register(point):
    return re.sub(r"_reg(_\d+)?$", r"\1", point).replace("/", ".")


def timing(folder, libraries, netlist, clock):
    """Return the `Timing` of the module ``unit``, or None if no path begins and ends in it.

    The clock arrives everywhere at once, and wires have neither resistance nor capacitance.

    Parameters
    ----------
    folder : Path
    libraries : list of str
    netlist : str
        Names of files in the folder.
    clock : str
        Name of the clock's port.

    Raises
    ------
    yosys.ToolError
        The tool stopped, or warned.
    """
    script = folder / f"{netlist}.tcl"
    script.write_text(
        "\n".join([
            *(f"read_liberty {library}" for library in libraries),
            f"read_verilog {netlist}",
            "link_design unit",
            "set_cmd_units -time ns",
            f"create_clock -name clock -period {LONG} [get_ports {clock}]",
            "report_checks -path_delay max -format full -digits 4",
            "exit",
        ])
        + "\n"
    )
    words = [TOOL, "-no_splash", "-exit", script.name]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True)
    said = done.stdout + done.stderr
    (folder / f"{netlist}.log").write_text(said)
    fault = _FAULT.search(said)
    if done.returncode or fault:
        word = fault[0] if fault else f"exit status {done.returncode}"
        raise ToolError(f"{TOOL}: {word} (see {folder / netlist}.log)")
    slack = _SLACK.search(said)
    if slack is None:
        return None
    start, end = (re.search(_POINT.format(n), said, re.M)[1] for n in ("Startpoint", "Endpoint"))
    return Timing(round(LONG - float(slack[1]), 4), _register(start), _register(end))
