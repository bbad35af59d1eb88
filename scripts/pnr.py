"""Place and route a unit, or the chip, on an LFE5U-85F: how fast is it, and why not faster."""

import sys

from hw.spec.presets import PRESETS
from scripts.command import Parser
from scripts.pnr_flow import place_and_route, unit_rtlil, versions
from scripts.pnr_report import frequency, text, update
from scripts.synth.budget import BUDGETS, exceeded, load, save
from scripts.synth.design import ROOT, write_whole
from scripts.synth.yosys import ToolError, notice

BUILD = ROOT / "build" / "pnr"

#: Clock that a unit must reach, in MHz; others must reach that of the chip.
GOALS = {"systolic_array": 240, "core.tile_0.matmul.array": 240, "top": 100}


def slower(preset, unit, mhz, budgets):
    """Return a line if a unit is slower than its budget allows, or has none; else None."""
    own = {preset: {unit: budgets.get(preset, {}).get(unit, {})}}
    return next(iter(exceeded(own, preset, {unit: {"mhz": round(mhz, 1)}})), None)


def accept(preset, unit, mhz, path=BUDGETS):
    """Make a frequency the unit's budget."""
    budgets = load(path)
    budgets.setdefault(preset, {}).setdefault(unit, {})["mhz"] = round(mhz, 1)
    save(budgets, path)


def run(options):
    """Place and route, write the reports; return what is wrong, or None."""
    mhz = options.mhz or GOALS.get(options.module, GOALS["top"])
    rtlil = unit_rtlil(options.preset)
    folder = BUILD / options.preset / options.module
    if first := notice():
        print(first)
    unit, cells, report = place_and_route(rtlil, options.module, folder, mhz=mhz, seed=options.seed)
    body = text(options.preset, unit, cells, report, mhz=mhz, seed=options.seed, tools=versions())
    write_whole(folder / "report.md", body)
    print(body, end="")
    reached = frequency(report)
    if reached < mhz:
        return f"{options.preset}: {unit}: {reached:.1f} MHz, must reach {mhz:g} MHz"
    if options.accept:
        accept(options.preset, unit, reached)
        update(options.preset, unit, body)
        return None
    return slower(options.preset, unit, reached, load())


def main(arguments=None):
    """Run the command; return its exit status."""
    parser = Parser(prog="pnr", description=__doc__)
    parser.add_argument("--preset", default="ulx3s", help=f"{', '.join(PRESETS)} (default: ulx3s)")
    parser.add_argument(
        "--module", default="top",
        help="unit, such as systolic_array or core.drain (default: top, the chip)",
    )  # fmt: skip
    parser.add_argument("--mhz", type=float, help="clock it must reach (default: the unit's)")
    parser.add_argument("--seed", type=int, default=1, help="of the placer (default: 1)")
    parser.add_argument(
        "--accept", action="store_true", help="record the result in budgets.toml and docs/pnr.md"
    )
    options = parser.parse_args(arguments)
    try:
        wrong = run(options)
    except (ValueError, OSError, ToolError) as error:
        print(f"pnr: {error}", file=sys.stderr)
        return 2
    if wrong:
        print(f"pnr: {wrong}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
