"""What a proof, a coverage run or a campaign found, kept for `docs/verification.md`."""

import json
import subprocess
import time
from dataclasses import asdict, dataclass, field

from scripts.synth.design import ROOT, write_whole

__all__ = ["FOLDER", "PAGES", "SECTIONS", "Record", "commit", "load", "save"]

FOLDER = ROOT / "docs" / "verification"

CODE = ("hw", "sim", "scripts", "tests", "pyproject.toml")

#: Sections of the page in their order: name of a record, and heading.
SECTIONS = {
    "wave": "Waveform regression",
    "formal": "Formal proofs",
    "coverage": "Coverage",
    "mutation": "Mutation testing",
    "soak": "Constrained-random soak",
    "second": "Second opinions",
    "faults": "Fault campaigns",
    "planted": "Three planted bugs",
}

#: The page of a section that says how it works, in docs/.
PAGES = {
    "wave": "waves.md",
    "formal": "formal.md",
    "coverage": "coverage.md",
    "mutation": "mutation.md",
    "soak": "soak.md",
    "second": "soak.md",
    "faults": "faults.md",
    "planted": "waves.md",
}


@dataclass(frozen=True, kw_only=True)
class Record:
    """One section of the page.

    Parameters
    ----------
    section : str
        One of `SECTIONS`.
    command : str
        What made it.
    summary : list of (str, str)
        Figures that stand first: label and value.
    columns : list of str
        Headings of the table; empty for none.
    rows : list of list of str
        Its rows, as wide as ``columns``.
    notes : list of str
        Markdown paragraphs below the table.
    tools : list of str
        Names and versions of the tools.
    commit, date : str
        When it was made; filled in by `save`.

    Raises
    ------
    ValueError
        An unknown section, or a row of another width.
    """

    section: str
    command: str
    summary: list = field(default_factory=list)
    columns: list = field(default_factory=list)
    rows: list = field(default_factory=list)
    notes: list = field(default_factory=list)
    tools: list = field(default_factory=list)
    commit: str = ""
    date: str = ""

    def __post_init__(self):
        if self.section not in SECTIONS:
            raise ValueError(f"section must be one of {', '.join(SECTIONS)}, not {self.section!r}")
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(
                    f"a row of {self.section} must have {len(self.columns)} cells, not {row!r}"
                )


def commit():
    """Return the short name of the commit, with a plus if code differs from it."""
    name = _git("rev-parse", "--short", "HEAD").stdout.strip() or "unknown"
    return name + "+" * bool(_git("diff", "--quiet", "HEAD", "--", *CODE).returncode)


def _git(*arguments):
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True)


def save(record, folder=FOLDER):
    """Write a record where the page finds it; return its path."""
    whole = asdict(record) | {"commit": commit(), "date": time.strftime("%Y-%m-%d")}
    path = folder / f"{record.section}.json"
    write_whole(path, json.dumps(whole, indent=1, ensure_ascii=False) + "\n")
    return path


def load(section, folder=FOLDER):
    """Return the record of a section, or None.

    Raises
    ------
    ValueError
        The file is damaged.
    """
    path = folder / f"{section}.json"
    if not path.exists():
        return None
    try:
        return Record(**json.loads(path.read_text()))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path} is no record of {section}: {error}") from None
