"""What came of the mutants of all units: shares, findings, and the page's record."""

from dataclasses import dataclass, field

from scripts.synth.yosys import version

from .record import Record

__all__ = ["COLUMNS", "LEAST_PERCENT", "Tally", "record", "stale", "table", "tally"]

#: Share of the mutants, but the equivalent ones, that tests of a unit must kill.
LEAST_PERCENT = 95

COLUMNS = [
    "module", "mutants", "killed", "proved equal", "explained", "survivors", "killed of the rest",
    "CPU s",
]  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Tally:
    """What came of the mutants of a unit.

    Members
    -------
    unit : str
        Its name.
    killed, proved : list of Mutation
        Those that a test failed on; those that a solver proves to be no change.
    explained : list of (Mutation, Explanation)
        Survivors with a reason.
    survivors : list of Mutation
        Survivors without one.
    contradictions : list of (Mutation, Explanation)
        Killed mutants that are said to be equivalent.
    seconds : float
        CPU seconds.
    """

    unit: str
    seconds: float
    killed: list = field(default_factory=list)
    proved: list = field(default_factory=list)
    explained: list = field(default_factory=list)
    survivors: list = field(default_factory=list)
    contradictions: list = field(default_factory=list)

    @property
    def count(self):
        """All mutants."""
        return sum(map(len, (self.killed, self.proved, self.explained, self.survivors)))

    @property
    def percent(self):
        """Share that was killed of those that are not equivalent."""
        rest = len(self.killed) + len(self.survivors)
        return 100 * len(self.killed) / rest if rest else 100.0

    def row(self):
        """Return its row of the table."""
        numbers = (self.count, len(self.killed), len(self.proved), len(self.explained),
                   len(self.survivors))  # fmt: skip
        return [self.unit, *map(str, numbers), f"{self.percent:.1f} %", f"{self.seconds:,.0f}"]


def tally(unit, outcomes, seconds, explanations):
    """Return the `Tally` of a unit's outcomes."""
    result = Tally(unit=unit, seconds=seconds)
    for outcome in outcomes:
        mutation = outcome.mutation
        reasons = [entry for entry in explanations if entry.matches(unit, mutation)]
        if outcome.killer is not None:
            result.killed.append(mutation)
            result.contradictions.extend((mutation, entry) for entry in reasons)
        elif outcome.proof:
            result.proved.append(mutation)
        elif reasons:
            result.explained.append((mutation, reasons[0]))
        else:
            result.survivors.append(mutation)
    return result


def stale(tallies, explanations):
    """Return the explanations that no survivor of any unit needs."""
    needed = [entry for found in tallies for _, entry in found.explained]
    return [entry for entry in explanations if entry not in needed]


def table(tallies):
    """Return the tallies as lines of text."""
    rows = [COLUMNS, *(found.row() for found in tallies)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if number else cell.ljust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    )


def record(tallies, *, command, seed):
    """Return the section of the page."""
    killed, proved, explained, survivors = (
        sum(len(getattr(found, name)) for found in tallies)
        for name in ("killed", "proved", "explained", "survivors")
    )
    share = 100 * killed / (killed + survivors)
    reasons = {}
    for found in tallies:
        for _, entry in found.explained:
            reasons[entry.reason] = reasons.get(entry.reason, 0) + 1
    return Record(
        section="mutation",
        command=command,
        summary=[
            ("modules", str(len(tallies))),
            ("mutants", f"{sum(found.count for found in tallies):,}"),
            ("killed, of those that change anything", f"{share:.1f} %"),
            ("least killed of a module", f"{min(found.percent for found in tallies):.1f} %"),
            ("proved to change nothing", str(proved)),
            ("explained as equivalent", str(explained)),
            ("survivors", str(survivors)),
            ("seed of the sample", str(seed)),
            ("CPU time", f"{sum(found.seconds for found in tallies) / 60:,.0f} min"),
        ],
        columns=COLUMNS,
        rows=[found.row() for found in tallies],
        notes=[
            (
                "A module's netlist holds all of its mutants, chosen by an input; the module's own"
                " cocotb bench runs on each. Registers begin as the opposite of their reset value."
                " A survivor counts as proved when a SAT solver shows that no register, memory or"
                " output differs in any state, as explained when `scripts/verify/mutants.toml`"
                " says why."
            ),
            *(f"{number} × {reason}" for reason, number in sorted(reasons.items())),
        ],
        tools=[version()],
    )
