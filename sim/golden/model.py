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
    context: int  # positions that the tables reach

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


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One decoder layer. q and k rows are in rope's interleaved order (2i, 2i+1)."""

    attention_norm: Norm
    q: Linear
    k: Linear
    v: Linear
    q_norm: Norm | None = None  # over each head, before rope; k_norm is there if it is
    k_norm: Norm | None = None
    score_shift: int  # Fq + Fk - 8; log2(e) and the score's scale are in q, or in q_norm's gain
    window: int = 0  # positions that a row sees, its own included; 0: all
    o: Linear
    ffn_norm: Norm
    gate: Linear
    up: Linear | None  # None: the activation alone goes into down
    activation: str = "silu"  # a key of `hw.spec.tables.ACTIVATIONS`
    table_shift: int  # bits of a gate below the index of the activation's table
    glu_shift: int  # Fg + Fu - Fa, or Fg - Fa without up
    down: Linear


@dataclass(frozen=True, kw_only=True)
class QuantisedModel:
    """A whole model. The head has weights of its own, also where the checkpoint's are tied."""

    shape: ModelShape
    embedding: np.ndarray  # int8 (vocab, dim)
    embedding_multiplier: np.ndarray  # uint16 (vocab,)
    embedding_shift: int  # ESH
    positions: np.ndarray | None = None  # int8 (context, dim): learned ones, added to the residual
    positions_multiplier: np.ndarray | None = None  # uint16 (context,)
    positions_shift: int = 0
    rope: np.ndarray  # int16 (context, head_dim // 2, 2): cosine, sine
    layers: tuple  # of Layer
    final_norm: Norm
    head: Linear
    bos_token: int | None = None
    eos_token: int | None = None
    residual_fraction: int = 12
