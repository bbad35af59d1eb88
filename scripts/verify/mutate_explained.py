"""Mutants that no test can kill, and why."""

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

__all__ = ["PATH", "Explanation", "load"]

PATH = Path(__file__).with_name("mutants.toml")

_KEYS = ("units", "place", "at", "reason")


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """Why mutants are equivalent to their unit.

    Members
    -------
    units : tuple of str
        Units that it holds for; empty for all.
    place : str
        Regular expression that `Mutation.place` matches as a whole.
    at : str
        Regular expression that is found in `Mutation.describe`.
    reason : str
        What makes them equivalent.
    """

    units: tuple
    place: str
    at: str
    reason: str

    def matches(self, unit, mutation):
        """Return whether a mutation of a unit is one of them."""
        return (
            (not self.units or unit in self.units)
            and re.fullmatch(self.place, mutation.place) is not None
            and re.search(self.at, mutation.describe()) is not None
        )


def load(path=PATH):
    """Return the explanations of a file.

    Raises
    ------
    ValueError
        The file is damaged, or an entry lacks something.
    """
    try:
        entries = tomllib.loads(path.read_text()).get("mutant", [])
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{path.name}: {error}") from None
    found = []
    for entry in entries:
        if set(entry) - {"units"} != {"place", "at", "reason"} or not all(entry.values()):
            raise ValueError(f"{path.name}: an entry must have {', '.join(_KEYS)}, not {entry!r}")
        for key in ("place", "at"):
            try:
                re.compile(entry[key])
            except re.error as error:
                raise ValueError(f"{path.name}: {key} {entry[key]!r}: {error}") from None
        found.append(Explanation(**{"units": (), **entry}))
    return found
