"""What a check finds, and which findings are allowed for a reason."""

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Finding", "Waivers"]

DEFAULT = Path(__file__).with_name("waivers.toml")


@dataclass(frozen=True, order=True)
class Finding:
    """Something that a check does not like: the check, the unit, and what it is."""

    check: str
    unit: str
    what: str

    def __str__(self):
        return f"{self.check}: {self.unit}: {self.what}"


class Waivers:
    """The list of allowed findings.

    The file has tables ``[[waiver]]`` with ``match``, a regular expression of the whole line that a
    finding is, and ``reason``.

    Parameters
    ----------
    path : Path
        A TOML file.

    Raises
    ------
    ValueError
        A waiver without a reason, with an unknown key, or with a bad expression.
    """

    def __init__(self, path=DEFAULT):
        self.path = Path(path)
        self._waivers, self._reasons = [], {}
        for entry in tomllib.loads(self.path.read_text()).get("waiver", []):
            if set(entry) != {"match", "reason"} or not entry["reason"].strip():
                raise ValueError(f"{path}: a waiver must have match and reason, not {entry!r}")
            try:
                self._waivers.append((entry["match"], re.compile(entry["match"])))
                self._reasons[entry["match"]] = entry["reason"].strip()
            except re.error as error:
                raise ValueError(f"{path}: {entry['match']!r}: {error}") from error
        self._used = set()

    def left(self, findings):
        """Return the findings that nothing allows, sorted."""
        rest = []
        for finding in findings:
            allowed = [match for match, regex in self._waivers if regex.fullmatch(str(finding))]
            self._used.update(allowed)
            if not allowed:
                rest.append(finding)
        return sorted(set(rest))

    def reason(self, finding):
        """Return why a finding is allowed, or None if nothing allows it."""
        for match, regex in self._waivers:
            if regex.fullmatch(str(finding)):
                self._used.add(match)
                return self._reasons[match]
        return None

    def unused(self):
        """Return the expressions that no finding so far needed."""
        return [match for match, _ in self._waivers if match not in self._used]
