"""Models of random integers whose numbers flow through every operator like those of a real one."""

import math

import numpy as np

from hw.spec.formats import (
    ACT_WIDTH,
    FFN_WIDTH,
    HEAD_WIDTH,
    LOGIT_FRACTION,
    MULTIPLIER_WIDTH,
    NORM_WIDTH,
    RESIDUAL_WIDTH,
    ROPE_FRACTION,
    SCORE_FRACTION,
)
from hw.spec.tables import ACTIVATION_STEP_BITS
from sim.golden.model import Layer, Linear, ModelShape, Norm, QuantisedModel

__all__ = ["random_model", "small_shape"]

RESIDUAL_FRACTION = 12
EPSILON = 1e-5
#: Typical size (standard deviation) and fraction bits of what each linear operator writes. The
#: fractions leave room for four to six times the typical size, so that a few results saturate.
QUERY_KEY, QUERY_KEY_FRACTION = 1.6, 14
VALUE, VALUE_FRACTION = 1.0, 14
GATE_UP, GATE_UP_FRACTION = 1.6, 14
PRODUCT, PRODUCT_FRACTION = 1.5, 18
BRANCH = 0.4  # what one layer's attention, or FFN, adds to a residual of size 1 at its start
LOGIT = 3.0


def small_shape(**changes):
    """Return the sizes of a model that simulates in seconds."""
    sizes = {
        "layers": 2, "dim": 64, "heads": 4, "kv_heads": 2, "head_dim": 32, "ffn": 96,
        "vocab": 80, "context": 64,
    }  # fmt: skip
    return ModelShape(**(sizes | changes))


def random_model(shape, seed, *, bias=False, eos_token=None):
    """Return a random `QuantisedModel`; ``bias`` gives q, k and v biases, as Qwen2 has them."""
    rng = np.random.default_rng(seed)
    keys = shape.kv_heads * shape.head_dim
    queries = shape.heads * shape.head_dim

    def norm():
        gain = rng.uniform(0.6, 1.4, shape.dim) * rng.choice([1, 1, 1, -1], shape.dim)
        peak = np.abs(gain).max() * math.sqrt(shape.dim)
        fraction = NORM_WIDTH - 1 - math.ceil(math.log2(peak))
        gain_fraction = 14 - math.floor(math.log2(peak))
        while True:
            scaled = np.rint(gain * math.sqrt(shape.dim) * 2.0**gain_fraction)
            if np.abs(scaled).max() < 1 << 15:
                break
            gain_fraction -= 1
        epsilon = round(EPSILON * shape.dim * 4**RESIDUAL_FRACTION)
        return Norm(scaled.astype(np.int16), 17 + gain_fraction - fraction, epsilon), fraction

    def linear(outputs, inputs, *, size, source, to, width, with_bias=False, extra=1.0):
        """Make results of typical size ``size``; ``source``, ``to``: typical size, fraction."""
        limit = (1 << (ACT_WIDTH - 1)) - 1
        weight = np.clip(np.rint(rng.normal(0, 40, (outputs, inputs))), -limit, limit)
        in_size, in_fraction, in_width = source
        scale = size / (40 * in_size * math.sqrt(inputs)) * rng.uniform(0.5, 1.5, outputs)
        total = np.abs(weight).sum(axis=1).max()
        shift1 = max(0, math.ceil(math.log2(total * 2 ** (in_width - 1))) - 31)
        multiplier, shift2 = _multiplier(scale * extra * 2.0 ** (to - in_fraction + shift1))
        values = None
        if with_bias:
            values = np.rint(rng.normal(0, size * extra * 2.0**to, outputs)).astype(np.int32)
        return Linear(weight.astype(np.int8), multiplier, shift1, shift2, width, values)

    def layer():
        attention_norm, fraction = norm()
        source = (1.0, fraction, NORM_WIDTH)
        to_head = {"source": source, "width": HEAD_WIDTH, "with_bias": bias}
        fold = math.log2(math.e) / math.sqrt(shape.head_dim)
        q_fraction = QUERY_KEY_FRACTION - round(math.log2(fold))
        q = linear(queries, shape.dim, size=QUERY_KEY, to=q_fraction, extra=fold, **to_head)
        k = linear(keys, shape.dim, size=QUERY_KEY, to=QUERY_KEY_FRACTION, **to_head)
        v = linear(keys, shape.dim, size=VALUE, to=VALUE_FRACTION, **to_head)
        # Attention averages over positions, so its output is smaller than v.
        to_residual = {"size": BRANCH, "to": RESIDUAL_FRACTION, "width": RESIDUAL_WIDTH}
        o = linear(shape.dim, queries, source=(0.5, VALUE_FRACTION, HEAD_WIDTH), **to_residual)
        ffn_norm, fraction = norm()
        to_ffn = {
            "size": GATE_UP,
            "source": (1.0, fraction, NORM_WIDTH),
            "to": GATE_UP_FRACTION,
            "width": HEAD_WIDTH,
        }
        gate = linear(shape.ffn, shape.dim, **to_ffn)
        up = linear(shape.ffn, shape.dim, **to_ffn)
        product = (PRODUCT, PRODUCT_FRACTION, FFN_WIDTH)
        return Layer(
            attention_norm=attention_norm,
            q=q,
            k=k,
            v=v,
            score_shift=q_fraction + QUERY_KEY_FRACTION - SCORE_FRACTION,
            o=o,
            ffn_norm=ffn_norm,
            gate=gate,
            up=up,
            table_shift=GATE_UP_FRACTION - ACTIVATION_STEP_BITS["silu"],
            glu_shift=2 * GATE_UP_FRACTION - PRODUCT_FRACTION,
            down=linear(shape.dim, shape.ffn, source=product, **to_residual),
        )

    embedding = np.clip(np.rint(rng.normal(0, 40, (shape.vocab, shape.dim))), -127, 127)
    embedding_multiplier, embedding_shift = _multiplier(
        rng.uniform(0.6, 1.4, shape.vocab) / 40 * 2.0**RESIDUAL_FRACTION
    )
    layers = tuple(layer() for _ in range(shape.layers))
    final_norm, fraction = norm()
    return QuantisedModel(
        shape=shape,
        embedding=embedding.astype(np.int8),
        embedding_multiplier=embedding_multiplier,
        embedding_shift=embedding_shift,
        rope=_rope(shape),
        layers=layers,
        final_norm=final_norm,
        head=linear(
            shape.vocab,
            shape.dim,
            size=LOGIT,
            source=(1.0, fraction, NORM_WIDTH),
            to=LOGIT_FRACTION,
            width=RESIDUAL_WIDTH,
        ),
        eos_token=eos_token,
        residual_fraction=RESIDUAL_FRACTION,
    )


def _multiplier(real):
    """Return 16-bit multipliers and the shift that makes them ``real`` numbers."""
    shift = 15 - math.floor(math.log2(real.max()))
    if np.rint(real.max() * 2.0**shift) >= 1 << (MULTIPLIER_WIDTH - 1):
        shift -= 1
    return np.rint(real * 2.0**shift).astype(np.uint16), shift


def _rope(shape):
    half = shape.head_dim // 2
    angle = np.outer(np.arange(shape.context), 10000.0 ** (-np.arange(half) / half))
    table = np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    return np.rint(table * (1 << ROPE_FRACTION)).astype(np.int16)
