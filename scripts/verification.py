"""Write docs/verification.md from the records that the verification commands left."""

import sys

from scripts.command import Parser
from scripts.synth.design import ROOT, write_whole
from scripts.verify.record import FOLDER, SECTIONS, load

PAGE = ROOT / "docs" / "verification.md"

_HEAD = """# Verification

How far the RTL can be trusted, and how good the tests are. Written by `make verification` from the
records in `docs/verification/`, each left by the command that it names; do not edit.
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


def page(folder=FOLDER):
    """Return the page; a section without a record says so."""
    parts = [_HEAD.strip()]
    for name, heading in SECTIONS.items():
        record = load(name, folder)
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
