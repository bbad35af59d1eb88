"""Rung 8: tokens of a model."""

from sim.bringup.execution import execute
from sim.bringup.operators import failure
from sim.bringup.rung import RungFailed

__all__ = ["climb", "loaded"]


def loaded(target):
    """Load the model of the settings; return it compiled. `RungFailed` if it is too large."""
    settings = target.settings
    compiled = settings.compiled
    needed, there = compiled.memory_map.size_bytes, target.transport.info["memory_bytes"]
    if needed > there:
        raise RungFailed(
            "the image is larger than the board's memory",
            expected=f"{there} bytes at most",
            got=f"model {settings.model_name} needs {needed}",
            look="a smaller model (--model)",
        )
    target.load(compiled)
    return compiled


def climb(target):
    """Write tokens, and compare them, the largest logits, and the KV cache with golden."""
    settings = target.settings
    name, model = settings.model_name, settings.model
    result = execute(target, loaded(target), model, settings.prompt, settings.tokens)
    if result.first is not None:
        raise failure(
            f"tokens of model {name}",
            result,
            "rung 7 passed: the upper part of the memory, if the model is large; more layers",
        )
    shown = " ".join(map(str, result.tokens[:8])) + (" ..." if len(result.tokens) > 8 else "")
    return [
        f"model {name}, {len(settings.prompt)} + {len(result.tokens)} tokens: {shown}",
        f"checksum {result.checksums()[1]}, as golden",
    ]
