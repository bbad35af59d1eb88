"""Place and route a unit, or the chip, on an LFE5U-85F: how fast is it, and why not faster."""

import sys

from hw.spec.presets import PRESETS, preset
from scripts.command import Parser
from scripts.pnr_flow import find_unit, place_and_route, unit_rtlil, versions
from scripts.pnr_report import frequency, text, update
from scripts.synth import goals, summary
from scripts.synth.budget import BUDGETS, exceeded, load, save
from scripts.synth.design import ROOT, modules, write_whole
from scripts.synth.yosys import ToolError, notice

BUILD = ROOT / "build" / "pnr"


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
    """Place and route, write the reports; return the lines that say what is wrong."""
    rtlil = unit_rtlil(options.preset)
    module = find_unit(modules(rtlil), options.module)
    unit = module.unit
    mhz = options.mhz or goals.clock(unit)
    folder = BUILD / options.preset / unit
    for name in ("report.json", "report.md"):  # a run that stops leaves no older one behind
        (folder / name).unlink(missing_ok=True)
    if first := notice():
        print(first)
    cells, report = place_and_route(rtlil, module, folder, mhz=mhz, seed=options.seed)
    tools = versions()
    body = text(options.preset, unit, cells, report, mhz=mhz, seed=options.seed, tools=tools)
    write_whole(folder / "report.md", body)
    print(body, end="")
    reached = frequency(report)
    lines = goals.array_goals(options.preset, preset(options.preset), {unit: cells})
    if reached < mhz:
        lines.append(f"{options.preset}: {unit}: {reached:.1f} MHz, must reach {mhz:g} MHz")
    if lines:
        return lines
    if options.accept:
        accept(options.preset, unit, reached)
        update(options.preset, unit, body)
        call = f"make pnr PRESET={options.preset} MODULE={unit} SEED={options.seed}"
        what = f"{options.preset}, {unit}"
        summary.record(summary.row(what, summary.PLACED, cells, reached, tools, call))
        return []
    line = slower(options.preset, unit, reached, load())
    return [line] if line else []


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
        lines = run(options)
    except (ValueError, OSError, ToolError) as error:
        print(f"pnr: {error}", file=sys.stderr)
        return 2
    for line in lines:
        print(f"pnr: {line}", file=sys.stderr)
    return 1 if lines else 0


if __name__ == "__main__":
    sys.exit(main())
