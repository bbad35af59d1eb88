"""Models of random words, and programs of a few of their operators."""

from dataclasses import dataclass, replace
from functools import cache

import numpy as np

from hw.spec.formats import HEAD_WIDTH, NORM_WIDTH
from sim.compiler.compile import compile_model
from sim.golden.random_model import random_model, small_shape

__all__ = ["PROGRAMS", "Program", "compiled_for", "model_of", "random_tokens", "token_model"]

_SHAPE = {"layers": 1, "heads": 2, "kv_heads": 1, "ffn": 64, "vocab": 64}
_SEEDS = {"plain": 11, "rich": 12, "tokens": 61}
_HEAD = ("final norm", "logits", "end")
_QKV = ("rope", "layer 0 attention norm", "layer 0 qkv")
_ATTENTION = (*_QKV, "layer 0 attention", "layer 0 o")
_FFN = ("layer 0 ffn norm", "layer 0 glu", "layer 0 down")


@dataclass(frozen=True)
class Program:
    """Some operators of a model.

    Members
    -------
    name : str
        The operators that it is the first to need.
    model : str
        ``plain`` or ``rich`` (with learned positions and norms of heads).
    steps : tuple of str
        Names of its operators, in order.
    """

    name: str
    model: str
    steps: tuple

    @property
    def has_cache(self):
        """Whether it writes keys and values."""
        return "layer 0 qkv" in self.steps

    def compiled(self, whole):
        """Return the `CompiledModel` that has this program in front of the data of ``whole``."""
        words = tuple(whole.program[whole.op_id(name)] for name in self.steps)
        return replace(whole, program=words)

    def golden_model(self):
        """Return the model that computes what this program does.

        What adds to the residual and is left out adds zero there.
        """
        model = model_of(self.model)
        (layer,) = model.layers
        silent = {
            field: _silent(getattr(layer, field))
            for field, step in (("o", "layer 0 o"), ("down", "layer 0 down"))
            if step not in self.steps
        }
        return replace(model, layers=(replace(layer, **silent),))


PROGRAMS = {
    key: Program(name, model, ("embed", *steps, *_HEAD))
    for key, name, model, steps in (
        ("logits", "embed, norm, linear to logits", "plain", ()),
        ("qkv", "rope, linear to qkv", "plain", _QKV),
        ("attention", "attention, linear to residual", "plain", _ATTENTION),
        ("glu", "linear to glu", "plain", _FFN),
        ("layer", "one layer", "plain", (*_ATTENTION, *_FFN)),
        (
            "rich",
            "embed of positions, head norm",
            "rich",
            ("positions", *_QKV[:2], "layer 0 head norm", *_QKV[2:]),
        ),
    )
}


@cache
def model_of(name):
    """Return the random model called ``plain`` or ``rich``."""
    model = random_model(small_shape(**_SHAPE), _SEEDS[name])
    if name == "plain":
        return model
    (layer,) = model.layers
    norm = layer.attention_norm
    head_norm = replace(
        norm,
        gain=norm.gain[: model.shape.head_dim],
        shift=norm.shift + NORM_WIDTH - HEAD_WIDTH,
    )
    context = model.shape.context
    return replace(
        model,
        positions=model.embedding[:context][::-1].copy(),
        positions_multiplier=model.embedding_multiplier[:context],
        positions_shift=model.embedding_shift,
        layers=(replace(layer, q_norm=head_norm, k_norm=head_norm),),
    )


@cache
def token_model():
    """Return a random model of two layers, small enough for a slow line."""
    return random_model(small_shape(**_SHAPE | {"layers": 2}), _SEEDS["tokens"])


@cache
def compiled_for(name, config):
    """Return the model called ``name``, compiled whole."""
    return compile_model(model_of(name), config)


def random_tokens(target, count):
    """Return a prompt for a random model."""
    return tuple(target.random().integers(0, _SHAPE["vocab"], count).tolist())


def _silent(linear):
    return replace(
        linear,
        weight=np.zeros_like(linear.weight),
        multiplier=np.zeros_like(linear.multiplier),
        bias=None,
    )
