"""The ladder: which rungs there are, and how it is climbed."""

import time
from dataclasses import asdict, dataclass

from sim.bringup import (
    array,
    clock,
    layer,
    link,
    memory,
    operators,
    register_walk,
    speed,
    tokens,
)
from sim.bringup.rung import Rung, RungFailed
from sim.device.error import (
    AccessRefused,
    BadAnswer,
    DeviceError,
    NoAnswer,
    NoInterrupt,
    PortError,
)

__all__ = ["RUNGS", "Outcome", "climb", "lines"]

RUNGS = (
    Rung(1, "link and version", link.climb, ()),
    Rung(2, "clocks and reset", clock.climb, (1,)),
    Rung(3, "register walk", register_walk.climb, (1,)),
    Rung(4, "memory", memory.climb, (1,)),
    Rung(5, "array self-test", array.climb, (1, 2, 3, 4)),
    Rung(6, "operators", operators.climb, (1, 2, 3, 4, 5)),
    Rung(7, "one layer", layer.climb, (1, 2, 3, 4, 5, 6)),
    Rung(8, "tokens", tokens.climb, (1, 2, 3, 4, 5, 6, 7)),
    Rung(9, "speed and counters", speed.climb, (1, 2, 3, 4, 5, 6, 7, 8)),
)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a rung.

    Members
    -------
    number, name : int, str
        Of the rung.
    verdict : str
        ``PASS``, ``FAIL`` or ``NOT RUN``.
    seconds : float
        What it took.
    found : list of str
        What it found, if it passed.
    fault, expected, got, look : str
        As in `RungFailed`, if it failed. ``fault`` also says why it was not run.
    """

    number: int
    name: str
    verdict: str
    seconds: float = 0.0
    found: tuple = ()
    fault: str = ""
    expected: str = ""
    got: str = ""
    look: str = ""

    def as_dict(self):
        """Return it for JSON."""
        return asdict(self)


def climb(target, numbers):
    """Climb rungs; yield the `Outcome` of each.

    Parameters
    ----------
    target : Target
        The board.
    numbers : iterable of int
        Which of `RUNGS`. One whose needs failed is not run; needs that are not climbed count as
        met.
    """
    bad = set()
    for rung in RUNGS:
        if rung.number not in numbers:
            continue
        needs = [number for number in rung.needs if number in bad]
        if needs:
            bad.add(rung.number)
            yield Outcome(
                number=rung.number,
                name=rung.name,
                verdict="NOT RUN",
                fault=f"needs rung {needs[0]}",
            )
            continue
        start = time.monotonic()
        try:
            result = {"verdict": "PASS", "found": tuple(rung.climb(target))}
        except RungFailed as failed:
            result = _failed(failed)
        except (DeviceError, ValueError) as error:
            result = _failed(_unexpected(error))
        if result["verdict"] == "FAIL":
            bad.add(rung.number)
        seconds = round(time.monotonic() - start, 2)
        yield Outcome(number=rung.number, name=rung.name, seconds=seconds, **result)


def _failed(failed):
    names = ("fault", "expected", "got", "look")
    return {"verdict": "FAIL"} | {name: getattr(failed, name) for name in names}


def _unexpected(error):
    """Return the `RungFailed` for what a driver says in the middle of a rung.

    A ValueError is of bytes that could not be read as what they should be.
    """
    if isinstance(error, PortError):
        fault, look = "the port is gone", "cable and power; then start again, from this rung on"
    elif isinstance(error, NoAnswer):
        fault, look = "the board does not answer any more", "power and cable; rung 1"
    elif isinstance(error, AccessRefused):
        fault = f"the board answers {error.status}"
        look = "whether the SDRAM came up (lamp 'memory'); rung 4"
    elif isinstance(error, NoInterrupt):
        fault = "the chip runs, and nothing comes of it"
        look = "lamp 'busy'; rung 3; --patience, if the model is large; timing of place and route"
    elif isinstance(error, BadAnswer | ValueError):
        fault = "what the chip says makes no sense"
        look = "rungs 3 and 4; timing of the chip's memory port in place and route"
    else:
        fault, look = "the driver stopped", "the rungs before; `make sim` with the same preset"
    return RungFailed(fault, expected="an answer", got=str(error), look=look)


def lines(outcome):
    """Return the lines that show an `Outcome`."""
    head = f"{outcome.number} {outcome.name} ".ljust(24, ".") + f" {outcome.verdict}"
    if outcome.verdict == "PASS":
        return [head, *(f"    {text}" for text in outcome.found)]
    if outcome.verdict == "NOT RUN":
        return [f"{head}: {outcome.fault}"]
    return [
        f"{head}: {outcome.fault}",
        f"    expected  {outcome.expected}",
        f"    got       {outcome.got}",
        f"    look at   {outcome.look}",
    ]
