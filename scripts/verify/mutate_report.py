"""What came of the mutants of all units: shares, findings, and the page's record."""

from dataclasses import dataclass, field

from scripts.synth.yosys import version

from .record import Record, commit

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


def record(tallies, explanations, units, *, seed, before=None):
    """Return the section of the page.

    Parameters
    ----------
    tallies : list of Tally
        Of the units that ran.
    explanations : list of Explanation
    units : sequence of str
        All that there are.
    seed : int
        Of the sample.
    before : Record or None
        The section as it was: the rows of the other units stay, each with its commit.
    """
    rows = {row[0]: row for row in (before.rows if before else ())}
    name = commit()
    rows |= {found.unit: [*found.row(), name] for found in tallies}
    missing = [unit for unit in units if unit not in rows]
    rows = [rows[unit] for unit in units if unit in rows]

    def total(column):
        at = COLUMNS.index(column)
        return sum(int(row[at].replace(",", "")) for row in rows)

    least = min(rows, key=_percent)
    killed, survivors = total("killed"), total("survivors")
    return Record(
        section="mutation",
        command="make mutate",
        summary=[
            ("modules", f"{len(rows)} of {len(units)}"),
            ("not measured yet", ", ".join(missing) or "none"),
            ("mutants", f"{total('mutants'):,}"),
            (
                "killed, of those that change anything",
                f"{100 * killed / (killed + survivors):.1f} %",
            ),
            ("least killed of a module", f"{_percent(least):.1f} %, {least[0]}"),
            (
                f"modules below {LEAST_PERCENT} %",
                ", ".join(row[0] for row in rows if _percent(row) < LEAST_PERCENT) or "none",
            ),
            ("proved to change nothing", str(total("proved equal"))),
            ("explained as equivalent", str(total("explained"))),
            ("survivors", str(survivors)),
            ("seed of the sample", str(seed)),
            ("CPU time", f"{total('CPU s') / 60:,.0f} min"),
        ],
        columns=[*COLUMNS, "commit"],
        rows=rows,
        notes=[
            (
                "A module's netlist holds all of its mutants, chosen by an input; the module's own"
                " cocotb bench runs on each. What lies inside another module of the table counts"
                " there. Registers begin as the opposite of their reset value."
                " A survivor counts as proved when a SAT solver shows that no output differs in any"
                " state, nor anything held that can reach one; as explained when"
                " `scripts/verify/mutants.toml` says why:"
            ),
            *(f"- {reason}" for reason in dict.fromkeys(entry.reason for entry in explanations)),
        ],
        tools=[version()],
    )


def _percent(row):
    return float(row[COLUMNS.index("killed of the rest")].removesuffix(" %"))
