"""Write docs/verification.md from the records that the verification commands left."""

import sys

from scripts.command import Parser
from scripts.synth.design import ROOT, write_whole
from scripts.verify.record import FOLDER, PAGES, SECTIONS, load

PAGE = ROOT / "docs" / "verification.md"

_HEAD = """# Verification

How far the RTL can be trusted, and how good the tests are. Written by `make verification` from the
records in `docs/verification/`, each left by the command that it names; do not edit.

CI runs what is short of all this in `make test`: the waveforms named so below, some proofs with
their planted bugs, 20 faults, a case of the soak, a replay of a small unit and the tests of the
tools. The rest has its own targets, and leaves its results here. On 2 cores that part takes 14 min
without a compiler's cache and beside other jobs, 7 min of them CPU time: `make test ARGS="..."` of
tests/test_{wave,wave_command,formal,faults,soak,second,mutate,coverage,coverage_collect,planted,verification}.py
and tests/e2e/test_parity.py.
"""


def _cell(text):
    return str(text).replace("|", "\\|").replace("\n", " ")


def _table(columns, rows):
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(_cell(cell) for cell in line)} |" for line in lines)


def section(record):
    """Return one section of the page as Markdown."""
    parts = [f"## {SECTIONS[record.section]}"]
    made = f"`{record.command}`, commit {record.commit}, {record.date}"
    parts.append(f"{made}{'; ' if record.tools else ''}{', '.join(record.tools)}.")
    if record.summary:
        parts.append(_table(["figure", ""], record.summary))
    if record.columns:
        parts.append(_table(record.columns, record.rows))
    return "\n\n".join([*parts, *record.notes])


def _overview(records):
    """Return the table of all sections: what made them, when, and their first figures."""
    rows = []
    for name, heading in SECTIONS.items():
        record = records[name]
        link = f"[{heading}]({PAGES[name]})"
        if not record:
            rows.append([link, "", "", "no record yet"])
            continue
        first = "; ".join(f"{label}: {value}" for label, value in record.summary[:3])
        rows.append([link, f"`{record.command}`", f"{record.commit}, {record.date}", first])
    return _table(["", "command", "commit, day", ""], rows)


def page(folder=FOLDER):
    """Return the page; a section without a record says so."""
    records = {name: load(name, folder) for name in SECTIONS}
    parts = [_HEAD.strip(), _overview(records)]
    for name, heading in SECTIONS.items():
        record = records[name]
        parts.append(section(record) if record else f"## {heading}\n\nNo record yet.")
    return "\n\n".join(parts) + "\n"


def main(arguments=None):
    """Run the command; return its exit status."""
    parser = Parser(prog="verification", description=__doc__)
    parser.parse_args(arguments)
    try:
        write_whole(PAGE, page())
    except (OSError, ValueError) as error:
        print(f"verification: {error}", file=sys.stderr)
        return 2
    print(f"written: {PAGE.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
