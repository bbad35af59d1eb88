"""Map the chip, or a unit of it, to standard cells: how large, how fast, and for each MAC."""

import argparse
import sys

from hw.spec.presets import PRESETS, preset
from scripts.command import BAD_INPUT, FAILED, Parser, say
from scripts.pnr_flow import find_unit
from scripts.synth import cell_report, design
from scripts.synth.cell_netlist import is_clock, joined
from scripts.synth.cells import map_modules
from scripts.synth.liberty import read_library
from scripts.synth.sta import sta_version, timing
from scripts.synth.yosys import ToolError, command, notice, version

BUILD = design.ROOT / "build" / "asic"


def _period(text):
    try:
        value = float(text)
    except ValueError:
        value = 0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"must be a positive number of ns, not {text!r}")
    return value


def _files(text):
    return [name for name in text.split(",") if name]


def _parser():
    parser = Parser(prog="asic", description=__doc__)
    parser.add_argument("--liberty", default="", help="Liberty files (.lib, .lib.gz), by commas")
    parser.add_argument("--preset", default="tiny", help=f"{', '.join(PRESETS)} (default: tiny)")
    parser.add_argument(
        "--module", default="top", help="unit, such as systolic_array or core.drain (default: top)"
    )
    parser.add_argument("--period", type=_period, help="clock period that it must reach, in ns")
    parser.add_argument(
        "--dont-use", help="patterns of cells to leave out, by commas (default: the library's)"
    )
    parser.add_argument("--accept", action="store_true", help="record the result in docs/asic.md")
    return parser


def _inside(found, top):
    """Return the names of a module and of all that it holds."""
    names = [top]
    for name in names:
        names += [child for child in found[name].children if child not in names]
    return names


def _timing(found, top, mapped, library, folder, kept):
    """Return the timing, or None, and why there is none."""
    if sta_version() is None:
        return None, "not known: OpenSTA (`sta`) is not installed"
    clock = next(filter(is_clock, mapped[top].ports), None)
    if clock is None:
        return None, "none: the unit has no registers"
    design.write_whole(folder / "netlist.v", joined(top, found, mapped))
    libraries = [str(kept / f"{number}.lib") for number in range(len(library.texts))]
    result = timing(folder, libraries, "netlist.v", clock)
    return result, "none: no path from register to register"


def _command(options, unit):
    words = [f"make asic LIBERTY=... PRESET={options.preset} MODULE={unit}"]
    if options.dont_use is not None:
        words.append(f"DONT_USE={options.dont_use}")
    return " ".join(words)


def run(options):
    """Map a unit and write its report; return what is wrong, or None.

    Raises
    ------
    ValueError, OSError
        Bad input.
    scripts.synth.yosys.ToolError
        A tool is missing, or failed.
    """
    preset(options.preset)
    if not options.liberty:
        raise ValueError("no library: name its files, LIBERTY=file.lib[,file.lib.gz...]")
    dont_use = None if options.dont_use is None else _files(options.dont_use)
    library = read_library(_files(options.liberty), dont_use)
    command()
    if notice():
        say(notice())
    found = design.modules(design.emit(options.preset).read_text())
    top = find_unit(found, options.module).name
    unit = found[top].unit
    kept = BUILD / "cells" / library.digest
    folder = BUILD / f"{library.digest[:8]}_{options.preset}_{unit}"
    for name in ("report.json", "report.md"):  # a run that stops leaves no older one behind
        (folder / name).unlink(missing_ok=True)
    mapped = map_modules(found, _inside(found, top), library, kept, say)
    folder.mkdir(parents=True, exist_ok=True)
    result, why = _timing(found, top, mapped, library, folder, kept)
    totals = cell_report.figures(found, mapped, library)
    words = {
        "preset": options.preset,
        "module": unit,
        "library": library.name,
        "dont_use": list(library.dont_use),
        "command": _command(options, unit),
        "tools": ", ".join(tool for tool in (version(), sta_version()) if tool),
        "timing": cell_report.timing_words(result),
        "no_timing": None if result else why,
        "units": {found[name].unit: values for name, values in totals.items()},
    }
    print(cell_report.text(words))
    say(str(cell_report.write_report(words, folder)))
    if options.accept:
        cell_report.update_docs(words)
    if options.period is None:
        return None
    if result is None:
        return f"{options.preset}: {unit}: the clock is {why}"
    if result.period > options.period:
        return f"{options.preset}: {unit}: {result.period:.3f} ns, must reach {options.period:g} ns"
    return None


def main(arguments=None):
    """Run the command; return its exit status."""
    options = _parser().parse_args(arguments)
    try:
        wrong = run(options)
    except (ValueError, OSError) as error:
        print(f"asic: {error}", file=sys.stderr)
        return BAD_INPUT
    except ToolError as error:
        print(f"asic: {error}", file=sys.stderr)
        return FAILED
    if wrong:
        print(f"asic: {wrong}", file=sys.stderr)
    return FAILED if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
