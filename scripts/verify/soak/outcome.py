"""What became of a case, as one line of JSON."""

import json
from dataclasses import asdict, dataclass

__all__ = ["Outcome"]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a case.

    Members
    -------
    seed : int
        Of the case.
    session : int
        Seed of the soak that it belonged to.
    sources : str
        Digest of what was tested.
    ok : bool
        Whether everything was equal.
    message : str
        What differed first, or how it failed; empty if ``ok``.
    kept : str
        Folder of a failure.
    tokens, requests, values, operators : int
        That were compared.
    interruptions : int
        Runs that were broken off in the middle.
    cycles : int
        Clock cycles simulated.
    seconds : float
        Wall time, without that for building simulators.
    chip : str
        `describe_chip` of its configuration.
    """

    seed: int
    session: int = 0
    sources: str = ""
    ok: bool
    message: str = ""
    kept: str = ""
    tokens: int = 0
    requests: int = 0
    values: int = 0
    operators: int = 0
    interruptions: int = 0
    cycles: int = 0
    seconds: float = 0.0
    chip: str = ""

    def line(self):
        """Return it as a line of JSON."""
        return json.dumps(asdict(self)) + "\n"

    @classmethod
    def of_line(cls, line):
        """Return what `line` wrote; ValueError for anything else."""
        try:
            return cls(**json.loads(line))
        except TypeError as error:
            raise ValueError(str(error)) from None
