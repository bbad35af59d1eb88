"""The cases that are finished: a file of JSON lines that a soak goes on from."""

import hashlib
import os
from pathlib import Path

from scripts.synth.design import ROOT, write_whole
from scripts.verify.soak.outcome import Outcome

__all__ = ["Journal", "tested_digest"]

_TESTED = ("hw", "sim", "scripts/verify/soak")


def tested_digest():
    """Return a digest of everything that decides what a case does and gives."""
    digest = hashlib.sha256()
    for folder in _TESTED:
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in (".py", ".cpp", ".h", ".sv"):
                digest.update(path.relative_to(ROOT).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()[:16]


class Journal:
    """Outcomes of cases, a line each; one is there once its line is.

    Parameters
    ----------
    path : Path
        The file. What is no whole line of it, as after a crash, is passed over.
    """

    def __init__(self, path):
        self.path = Path(path)

    def outcomes(self):
        """Return all `Outcome`, in the order in which they were written."""
        found = []
        for line in self.path.read_text().splitlines() if self.path.exists() else ():
            try:
                found.append(Outcome.of_line(line))
            except ValueError:
                continue
        return found

    def of_session(self, session, sources):
        """Return seed to `Outcome` of a session of these sources; of several the last."""
        return {
            one.seed: one
            for one in self.outcomes()
            if one.session == session and one.sources == sources
        }

    def last_session(self):
        """Return the seed of the session that was written last, or None."""
        found = self.outcomes()
        return found[-1].session if found else None

    def add(self, outcome):
        """Write an `Outcome`; it survives a crash of the machine."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        broken = self.path.exists() and not self.path.read_bytes().endswith(b"\n")
        with self.path.open("a") as file:
            if broken and self.path.stat().st_size:
                file.write("\n")
            file.write(outcome.line())
            file.flush()
            os.fsync(file.fileno())

    def forget(self, session):
        """Take all outcomes of a session out."""
        left = [one.line() for one in self.outcomes() if one.session != session]
        if self.path.exists():
            write_whole(self.path, "".join(left))
