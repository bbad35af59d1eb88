"""Budgets: how large and how fast each unit of a preset may be."""

import tomllib

from .design import ROOT, write_whole

__all__ = ["AREAS", "BUDGETS", "SLACK", "accepted", "exceeded", "load", "save"]

BUDGETS = ROOT / "budgets.toml"
SLACK = 0.03  #: so much worse than its budget may a figure be
AREAS = ("lut", "ff", "dsp", "bram", "gates")  #: more is worse
FREQUENCY = "mhz"  #: less is worse

_HEADER = """\
# How large and how fast each unit of a preset may be: `make lint-synth` fails when an area is more
# than 3 % above. Frequencies (mhz) may be 3 % below. `make budgets` accepts new areas.
"""


def load(path=BUDGETS):
    """Return preset to unit to figure to value."""
    if not path.exists():
        return {}
    try:
        return tomllib.loads(path.read_text())
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{path}: {error}") from error


def save(budgets, path=BUDGETS):
    """Write what `load` reads."""
    lines = [_HEADER]
    for preset, units in budgets.items():
        lines.append(f"[{preset}]")
        for unit, values in units.items():
            fields = ", ".join(f"{name} = {value}" for name, value in values.items())
            lines.append(f'"{unit}" = {{ {fields} }}')
        lines.append("")
    write_whole(path, "\n".join(lines))


def accepted(budgets, preset, areas):
    """Return budgets with the areas of a preset (unit to figures); frequencies stay."""
    old = budgets.get(preset, {})
    kept = {
        unit: {name: figures[name] for name in AREAS}
        | {name: value for name, value in old.get(unit, {}).items() if name == FREQUENCY}
        for unit, figures in areas.items()
    }
    # A unit of which only the frequency is known was measured by somebody else.
    others = {unit: values for unit, values in old.items() if set(values) == {FREQUENCY}}
    return {**budgets, preset: {**kept, **{u: v for u, v in others.items() if u not in kept}}}


def exceeded(budgets, preset, measured):
    """Return a line for each figure that is worse than its budget allows, or has none.

    Parameters
    ----------
    budgets : dict
        From `load`.
    preset : str
    measured : dict
        Unit to name to value; names are those of `AREAS`, and ``mhz``.
    """
    budget, lines = budgets.get(preset, {}), []
    for unit, figures in measured.items():
        for name, value in figures.items():
            if name not in (*AREAS, FREQUENCY):
                continue
            allowed = budget.get(unit, {}).get(name)
            if allowed is None:
                lines.append(f"{preset}: {unit}: {name} has no budget")
                continue
            more = value - allowed if name in AREAS else allowed - value
            if more > SLACK * allowed:
                share = f"{more / allowed:.1%}" if allowed else "anything"
                lines.append(
                    f"{preset}: {unit}: {name} is {value:,}, {share} worse than its budget of "
                    f"{allowed:,}"
                )
    wanted = {name for figures in measured.values() for name in figures}
    lines += [
        f"{preset}: {unit}: has a budget and is not there"
        for unit, values in budget.items()
        if unit not in measured and set(values) & wanted
    ]
    return lines
