"""Rung 7: all operators of one layer, with keys and values of earlier positions."""

from sim.bringup.execution import execute
from sim.bringup.operators import failure
from sim.bringup.programs import PROGRAMS, compiled_for, random_tokens

__all__ = ["climb"]

_TOKENS = 3


def climb(target):
    """Run a prompt of two passes and some tokens through one layer of random weights."""
    program, config = PROGRAMS["layer"], target.settings.config
    whole = compiled_for(program.model, config)
    target.load(whole)
    prompt = random_tokens(target, config.max_rows + 3)
    result = execute(target, program.compiled(whole), program.golden_model(), prompt, _TOKENS)
    if result.first is not None:
        raise failure(
            "one layer",
            result,
            "rung 6 passed: what operators hand to each other, and the KV cache between passes",
        )
    return [f"{len(prompt)} rows and {_TOKENS} tokens: checksum {result.checksums()[1]}, as golden"]
