"""Rung 6: each operator against golden, in programs that add one at a time."""

from sim.bringup.execution import execute
from sim.bringup.programs import PROGRAMS, compiled_for, random_tokens
from sim.bringup.rung import RungFailed
from sim.device.error import ChipError, RequestFailed

__all__ = ["climb", "failure"]

_ORDER = ("logits", "qkv", "attention", "glu", "rich")
_LOOK = "timing of these units in place and route; `make sim`, which compares every element"


def climb(target):
    """Run the programs in order."""
    found = []
    config = target.settings.config
    for key in _ORDER:
        program = PROGRAMS[key]
        whole = compiled_for(program.model, config)
        target.load(whole)
        prompt = random_tokens(target, config.max_rows + 2)
        try:
            result = execute(
                target,
                program.compiled(whole),
                program.golden_model(),
                prompt,
                1,
                has_cache=program.has_cache,
            )
        except (ChipError, RequestFailed) as error:
            raise RungFailed(
                f"{program.name}: the chip stopped",
                expected="a token",
                got=str(error),
                look=_LOOK,
            ) from error
        if result.first is not None:
            raise failure(program.name, result, _LOOK)
        found.append(f"{program.name}: checksum {result.checksums()[1]}, as golden")
    return found


def failure(what, result, look):
    """Return the `RungFailed` of an `Execution` that differs from golden."""
    expected, got = result.checksums()
    return RungFailed(
        f"{what}: other bits than golden",
        expected=f"checksum {expected}; {result.first}",
        got=f"checksum {got}",
        look=look,
    )
