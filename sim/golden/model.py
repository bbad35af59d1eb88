"""A quantised model: the integers that golden model and compiler both read.

Every shape is the padded one: lengths along a reduction and heads are multiples of 32, padded with
zeros by the quantiser. Names and formulas: `numerics.md`, section 3.
"""

from dataclasses import dataclass

import numpy as np

__all__ = ["Layer", "Linear", "ModelShape", "Norm", "QuantisedModel"]


@dataclass(frozen=True, kw_only=True)
class ModelShape:
    """Sizes of a model, in elements; ``vocab`` counts real tokens only."""

    layers: int
    dim: int  # residual, padded
    heads: int
    kv_heads: int
    head_dim: int  # padded
    ffn: int  # padded
    vocab: int
    context: int  # positions the rope table reaches

    @property
    def group(self):
        """Query heads of one KV head."""
        return self.heads // self.kv_heads


@dataclass(frozen=True)
class Linear:
    """y = SAT(RSH(RSH(DOT, shift1) * multiplier, shift2) + bias, out_width)."""

    weight: np.ndarray  # int8 (outputs, inputs)
    multiplier: np.ndarray  # uint16 (outputs,)
    shift1: int
    shift2: int
    out_width: int
    bias: np.ndarray | None = None  # int32 (outputs,)


@dataclass(frozen=True)
class Norm:
    """RMSNorm: gain G, shift SG, epsilon EPS of `numerics.md` 3.2 step 2."""

    gain: np.ndarray  # int16 (dim,)
    shift: int
    epsilon: int


@dataclass(frozen=True)
class Layer:
    """One decoder layer. q and k rows are in rope's interleaved order (2i, 2i+1)."""

    attention_norm: Norm
    q: Linear  # log2(e) / sqrt(head_dim) is folded into its multiplier
    k: Linear
    v: Linear
    score_shift: int  # Fq + Fk - 8
    o: Linear
    ffn_norm: Norm
    gate: Linear
    up: Linear
    gate_fraction: int  # Fg
    glu_shift: int  # Fg + Fu - Fa
    down: Linear


@dataclass(frozen=True)
class QuantisedModel:
    """A whole model. The head's weight is the embedding's where they are tied."""

    shape: ModelShape
    embedding: np.ndarray  # int8 (vocab, dim)
    embedding_multiplier: np.ndarray  # uint16 (vocab,)
    embedding_shift: int  # ESH
    rope: np.ndarray  # int16 (context, head_dim // 2, 2): cosine, sine
    layers: tuple  # of Layer
    final_norm: Norm
    head: Linear
    bos_token: int | None = None
    eos_token: int | None = None
    residual_fraction: int = 12
