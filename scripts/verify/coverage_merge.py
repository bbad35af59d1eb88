"""One figure for each unit, of all simulators that met it, and the list of what none met."""

import json
from dataclasses import dataclass, field
from pathlib import Path

from scripts.synth.design import ROOT
from scripts.synth.finding import Finding, Waivers
from sim.coverage.collect import DamagedData, Unit, load

__all__ = ["GOALS", "WAIVERS", "Count", "Group", "Hole", "Report", "UnitReport", "merge"]

WAIVERS = Path(__file__).with_name("coverage_waivers.toml")

#: The reason that needs no waiver.
CONSTANT = "constant in every build: nothing drives it but constants"

#: What is to be reached, in percent of what no reason excludes.
GOALS = {"lines": 95.0, "toggles": 90.0}


@dataclass
class Count:
    """How much of something was met.

    Members
    -------
    met, total, excluded : int
        ``total`` has all there is; ``excluded`` is what was not met, for a reason.
    """

    met: int = 0
    total: int = 0
    excluded: int = 0

    def add(self, other):
        """Count what another counted as well."""
        self.met += other.met
        self.total += other.total
        self.excluded += other.excluded

    @property
    def percent(self):
        """Percentage met of what is not excluded; 100 of nothing."""
        asked = self.total - self.excluded
        return 100 * self.met / asked if asked else 100.0

    @property
    def raw(self):
        """Percentage met of all there is."""
        return 100 * self.met / self.total if self.total else 100.0


@dataclass(frozen=True)
class Hole:
    """Something that was not met: where, what, how many points it is, and why it is no matter."""

    where: str
    what: str
    points: int
    reason: str | None


@dataclass
class UnitReport:
    """A unit: its file, its counts by kind of `GOALS`, its holes, how many simulators it was in.

    Members
    -------
    name : str
    counts : dict
    holes : list of Hole
    runs : int
    """

    name: str
    counts: dict = field(default_factory=lambda: {kind: Count() for kind in GOALS})
    holes: list = field(default_factory=list)
    runs: int = 0

    def misses(self):
        """Return the kinds of `GOALS` in which the unit is below."""
        return [kind for kind, goal in GOALS.items() if self.counts[kind].percent < goal]


@dataclass
class Group:
    """A cover point or cross: its name, its count of bins, and the bins that nothing met."""

    name: str
    count: Count
    holes: list


@dataclass
class Report:
    """Everything that the page shows.

    Members
    -------
    units : list of UnitReport
    totals : dict
        Counts of all units.
    groups : list of Group
        Functional coverage.
    unused : list of str
        Waivers that match nothing.
    """

    units: list
    totals: dict
    groups: list
    unused: list

    def functional(self):
        """Return the count of the bins of all groups."""
        total = Count()
        for group in self.groups:
            total.add(group.count)
        return total

    def below(self):
        """Return a line for each total and each unit that is below a goal, and for each count."""
        lines = []
        for name, counts in [("all units", self.totals), *((u.name, u.counts) for u in self.units)]:
            for kind, goal in GOALS.items():
                if counts[kind].percent < goal:
                    lines.append(f"{name}: {kind} {counts[kind].percent:.1f} %, goal {goal:.0f} %")
        return lines


def merge(folder, waivers=WAIVERS):
    """Return the `Report` of what lies in a folder of `sim.coverage.collect`.

    Raises
    ------
    DamagedData
        A file there is not what was written.
    ValueError
        The waivers are wrong, or nothing was collected.
    """
    paths = sorted((Path(folder) / "runs").glob("*.json"))
    if not paths:
        raise ValueError(f"{folder} has no coverage: run `make coverage` first")
    allowed = Waivers(waivers)
    found, runs = {}, {}
    for path in paths:
        for name, unit in load(path).items():
            found.setdefault(name, Unit()).add(unit)
            runs[name] = runs.get(name, 0) + 1
    units = [_unit(name, unit, runs[name], allowed) for name, unit in sorted(found.items())]
    totals = {kind: Count() for kind in GOALS}
    for unit in units:
        for kind, count in unit.counts.items():
            totals[kind].add(count)
    groups = _groups(Path(folder) / "functional", allowed)
    return Report(units, totals, groups, allowed.unused())


def _unit(name, unit, runs, allowed):
    report = UnitReport(name, runs=runs)
    for place, hit in sorted(unit.lines.items(), key=lambda item: _order(item[0])):
        report.counts["lines"].total += 1
        report.counts["lines"].met += hit
        if not hit:
            what = _source(place)
            reason = allowed.reason(Finding("line", name, what))
            report.counts["lines"].excluded += reason is not None
            report.holes.append(Hole(place, what, 1, reason))
    for signal, bits in sorted(unit.signals.items()):
        _signal(report, name, signal, bits, allowed)
    return report


def _signal(report, name, signal, bits, allowed):
    there, rose, fell, free = bits
    width = (there | rose | fell | free).bit_length()
    count = report.counts["toggles"]
    count.total += 2 * there.bit_count()
    count.met += (rose & there).bit_count() + (fell & there).bit_count()
    missing = {}  # (edge, reason): bits
    for edge, met in (("rises", rose), ("falls", fell)):
        for bit in _bits(there & ~met):
            text = f"{signal}[{bit}]" if width > 1 else signal
            if free >> bit & 1:
                reason = allowed.reason(Finding("toggle", name, f"{text} {edge}"))
            else:
                reason = CONSTANT
            count.excluded += reason is not None
            missing.setdefault((edge, reason), []).append(bit)
    for (edge, reason), which in missing.items():
        text = f"{signal}[{_ranges(which)}]" if width > 1 else signal
        report.holes.append(Hole(signal, f"{text} never {edge}", len(which), reason))


def _bits(mask):
    return [bit for bit in range(mask.bit_length()) if mask >> bit & 1]


def _ranges(numbers):
    """Return ``0,4-7`` for sorted numbers."""
    parts, start, last = [], None, None
    for number in [*numbers, None]:
        if start is not None and (number is None or number != last + 1):
            parts.append(f"{start}" if start == last else f"{start}-{last}")
            start = None
        if start is None:
            start = number
        last = number
    return ",".join(parts)


def _order(place):
    file, _, line = place.rpartition(":")
    return file, int(line)


def _source(place):
    """Return the text of a line of our sources, or the place if it is no longer there."""
    file, line = _order(place)
    try:
        return (ROOT / file).read_text().splitlines()[line - 1].strip()
    except (OSError, IndexError):
        return place


def _groups(folder, allowed):
    """Return the cover points and crosses, the bins of all simulators added."""
    bins = {}
    for path in sorted(folder.glob("*.json")):
        try:
            for name, hits in json.loads(path.read_text()).items():
                merged = bins.setdefault(name, {})
                for label, count in hits.items():
                    merged[label] = merged.get(label, 0) + int(count)
        except (OSError, ValueError, AttributeError, TypeError) as error:
            raise DamagedData(f"{path} is no functional coverage of ours: {error}") from None
    groups = []
    for name, hits in bins.items():
        count, holes = Count(total=len(hits)), []
        for label, times in hits.items():
            if times:
                count.met += 1
                continue
            reason = allowed.reason(Finding("bin", name, label))
            count.excluded += reason is not None
            holes.append(Hole(name, label, 1, reason))
        groups.append(Group(name, count, holes))
    return groups
