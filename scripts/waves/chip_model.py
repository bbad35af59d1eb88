"""The smallest model that goes through every operator, for the scenarios of the whole chip."""

from functools import cache

from hw.spec.presets import preset
from sim.compiler.compile import compile_model
from sim.golden.random_model import random_model, small_shape
from sim.run.golden_run import run_golden

__all__ = ["OPERATORS", "PRESET", "PROMPT", "SLVERR_PAGE", "program", "tokens"]

PRESET = "tiny"
PROMPT = (3, 10, 17)
PAGES, SLVERR_PAGE = 4, 3
SEED = 7
SIZES = {
    "layers": 1, "dim": 32, "heads": 2, "kv_heads": 1, "head_dim": 32, "ffn": 32, "vocab": 40,
    "context": 64,
}  # fmt: skip

#: Operators that windows begin at, by their numbers in the program; the bench checks them.
OPERATORS = {"layer 0 qkv": 3, "layer 0 attention": 4, "layer 0 o": 5}


@cache
def _model():
    return random_model(small_shape(**SIZES), SEED)


@cache
def program():
    """Return the `CompiledModel`."""
    return compile_model(_model(), preset(PRESET), context=SIZES["context"], page_count=PAGES)


@cache
def tokens():
    """Return what must follow the prompt: one token."""
    return run_golden(_model(), PROMPT, 1).tokens
