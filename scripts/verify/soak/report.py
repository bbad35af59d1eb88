"""The soaks of all sessions, added up for `docs/verification.md`."""

import importlib.metadata
import time

from scripts.verify.record import Record

__all__ = ["COLUMNS", "figures", "soak_record"]

#: Headings: text of the first two, numbers in the others.
COLUMNS = (
    "session seed", "date", "chips", "cases", "tokens", "values compared", "operators compared",
    "runs broken off", "cycles", "simulator hours", "failures",
)  # fmt: skip
MOST_ROWS = 30  #: of the table: older sessions share one

_NOTE = (
    "Each case is a random chip, model, batch of requests and memory; all that its operators show, "
    "its tokens and its KV cache are compared with the golden model. `docs/soak.md` says what is "
    "drawn, and how to run a case again."
)
_EARLIER = "earlier"
_TOOLS = ("verilator", "cocotb", "distributed")


def figures(session, outcomes):
    """Return the row of a session, as text."""
    outcomes = list(outcomes)

    def total(name):
        return f"{sum(getattr(one, name) for one in outcomes):,}"

    return [
        str(session),
        time.strftime("%Y-%m-%d"),
        str(len({one.chip for one in outcomes if one.chip})),
        f"{len(outcomes):,}",
        total("tokens"),
        total("values"),
        total("operators"),
        total("interruptions"),
        total("cycles"),
        f"{sum(one.seconds for one in outcomes) / 3600:.2f}",
        f"{sum(not one.ok for one in outcomes):,}",
    ]


def _sum(rows):
    """Return the numbers of rows, added."""
    columns = list(zip(*(row[2:] for row in rows), strict=True))
    numbers = [[float(cell.replace(",", "")) for cell in column] for column in columns]
    return [
        f"{sum(column):.2f}" if name == "simulator hours" else f"{round(sum(column)):,}"
        for name, column in zip(COLUMNS[2:], numbers, strict=True)
    ]


def soak_record(before, row):
    """Return the `Record` of all sessions.

    Parameters
    ----------
    before : Record
        What was saved last, or None.
    row : list of str
        `figures` of a session; it takes the place of what that session had before.

    Raises
    ------
    ValueError
        ``before`` is of another kind, or holds what is no number.
    """
    rows = list(before.rows) if before else []
    if before and tuple(before.columns) != COLUMNS:
        raise ValueError(f"the record of soak must have the columns {', '.join(COLUMNS)}")
    rows = [[*old] for old in rows if old[0] != row[0]] + [row]
    if len(rows) > MOST_ROWS:
        old, rows = rows[: 1 - MOST_ROWS], rows[1 - MOST_ROWS :]
        rows.insert(0, [_EARLIER, f"to {old[-1][1].removeprefix('to ')}", *_sum(old)])
    summary = [[name, value] for name, value in zip(COLUMNS[2:], _sum(rows), strict=True)]
    return Record(
        section="soak",
        command="make soak",
        summary=summary,
        columns=list(COLUMNS),
        rows=rows,
        notes=[_NOTE],
        tools=[f"{name} {importlib.metadata.version(name)}" for name in _TOOLS if _there(name)],
    )


def _there(name):
    try:
        return bool(importlib.metadata.version(name))
    except importlib.metadata.PackageNotFoundError:
        return False
