"""GPT-2: layer norms, learned positions, a network without gate, biases everywhere."""

from math import sqrt

import numpy as np

from sim.compiler.decoder import DecoderConfig
from sim.compiler.families.family import Family, Source

__all__ = ["GPT2"]

TOP = {
    "embedding": "wte.weight",
    "positions": "wpe.weight",
    "final_norm.gain": "ln_f.weight",
    "final_norm.bias": "ln_f.bias",
    "head.weight": "lm_head.weight",
}
LAYER = {
    "attention_norm": "ln_1",
    "o": "attn.c_proj",
    "ffn_norm": "ln_2",
    "gate": "mlp.c_fc",
    "down": "mlp.c_proj",
}
JOINED = ("q", "k", "v")  # in this order in attn.c_attn


def _read_config(options):
    options.refuse_unsupported()
    dim, heads = options.size("n_embd"), options.size("n_head")
    if dim % heads:
        raise ValueError(f"n_head must divide n_embd ({dim}), not {heads}")
    layers, head_dim = options.layers("n_layer"), dim // heads
    return DecoderConfig(
        layers=layers,
        dim=dim,
        heads=heads,
        kv_heads=heads,
        head_dim=head_dim,
        ffn=options.size("n_inner", 4 * dim),
        vocab=options.size("vocab_size"),
        context=options.size("n_positions", 1024),
        epsilon=options.number("layer_norm_epsilon", 1e-5),
        score_scale=1 / sqrt(head_dim) if options.flag("scale_attn_weights", True) else 1.0,
        norm="layer",
        activation=options.activation("activation_function", "gelu_new"),
        gated=False,
        biases=("q", "k", "v", "o", "gate", "down"),
        windows=(0,) * layers,
        rope_frequencies=None,
        tied=options.flag("tie_word_embeddings", True),
        bos_token=options.token("bos_token_id"),
        eos_token=options.token("eos_token_id"),
    )


def _sources(config):
    return {
        name: _source(name, shape, config.dim) for name, shape in config.tensor_shapes().items()
    }


def _source(name, shape, dim):
    if name in TOP:
        return Source(TOP[name], shape)
    index, module, kind = name.split(".")
    stored_kind = "bias" if kind == "bias" else "weight"
    if module in JOINED:
        part = JOINED.index(module)
        stored_shape = (*shape[1:], 3 * dim)

        def take(stored):
            return np.split(stored, len(JOINED), axis=-1)[part].T.copy()

        return Source(f"h.{index}.attn.c_attn.{stored_kind}", stored_shape, take)
    # Matrices are stored as (inputs, outputs).
    return Source(f"h.{index}.{LAYER[module]}.{stored_kind}", shape[::-1], np.transpose)


GPT2 = Family(
    model_type="gpt2",
    read_config=_read_config,
    sources=_sources,
    prefix="transformer.",
    ignored=(".attn.bias", ".attn.masked_bias"),
)
