"""What Llama's descendants have in common."""

from math import sqrt

from sim.compiler.decoder import DecoderConfig
from sim.compiler.families.family import Source
from sim.compiler.families.rope import read_rope_frequencies

__all__ = ["IGNORED", "common_sources", "read_common_config", "read_windows"]

#: Tensors that follow from the configuration.
IGNORED = ("rotary_emb.inv_freq",)

TOP = {
    "embedding": "model.embed_tokens.weight",
    "final_norm.gain": "model.norm.weight",
    "head.weight": "lm_head.weight",
}
LAYER = {
    "attention_norm": "input_layernorm",
    "q": "self_attn.q_proj",
    "k": "self_attn.k_proj",
    "v": "self_attn.v_proj",
    "o": "self_attn.o_proj",
    "q_norm": "self_attn.q_norm",
    "k_norm": "self_attn.k_norm",
    "ffn_norm": "post_attention_layernorm",
    "gate": "mlp.gate_proj",
    "up": "mlp.up_proj",
    "down": "mlp.down_proj",
}
LAYER_TYPES = ("full_attention", "sliding_attention")


def read_common_config(options, *, context, kv_heads=None, head_dim=None, windows=None, **choices):
    """Return the `DecoderConfig` of a family.

    Parameters
    ----------
    options : Options
    context : int
        Where ``config.json`` says nothing.
    kv_heads, head_dim : int
        Where ``config.json`` says nothing; by default as many as heads, and the width over heads.
    windows : tuple of int
        Of the layers; by default none has one.
    choices
        Of `DecoderConfig`, beyond sizes, norm and rotary embedding.

    Raises
    ------
    ValueError
        A key that is missing, or a value other than it may be.
    """
    dim, heads = options.size("hidden_size"), options.size("num_attention_heads")
    if options.get("head_dim", head_dim) is None and dim % heads:
        raise ValueError(f"num_attention_heads must divide hidden_size ({dim}), not {heads}")
    if kv_heads is None or options.has("num_key_value_heads"):
        kv_heads = heads
    kv_heads = options.size("num_key_value_heads", kv_heads)
    head_dim = options.size("head_dim", head_dim or dim // heads)
    layers = options.layers("num_hidden_layers")
    return DecoderConfig(
        **{
            "layers": layers,
            "dim": dim,
            "heads": heads,
            "kv_heads": kv_heads,
            "head_dim": head_dim,
            "ffn": options.size("intermediate_size"),
            "vocab": options.size("vocab_size"),
            "context": options.size("max_position_embeddings", context),
            "epsilon": options.number("rms_norm_eps", 1e-6),
            "score_scale": 1 / sqrt(head_dim),
            "activation": options.activation("hidden_act", "silu"),
            "windows": read_windows(options, layers) if windows is None else windows,
            "rope_frequencies": read_rope_frequencies(options, head_dim),
            "tied": options.flag("tie_word_embeddings", False),
            "bos_token": options.token("bos_token_id"),
            "eos_token": options.token("eos_token_id"),
        }
        | choices
    )


def read_windows(options, layers, window=0, first=0, mixed=False):
    """Return `DecoderConfig.windows`.

    Parameters
    ----------
    window : int
        Positions, or 0.
    first : int
        Layers before this one see all positions.
    mixed : bool
        Whether ``layer_types``, where it is there, says which layers have the window.

    Raises
    ------
    ValueError
        A ``layer_types`` that does not fit.
    """
    full, sliding = LAYER_TYPES
    usual = [sliding if window and index >= first else full for index in range(layers)]
    types = options.get("layer_types", usual)
    if not isinstance(types, list) or len(types) != layers:
        raise ValueError(f"layer_types must be a list of {layers}, not {types!r}")
    for index, name in enumerate(types):
        allowed = LAYER_TYPES if mixed and window else (usual[index],)
        if name not in allowed:
            raise ValueError(f"layer_types[{index}] must be {' or '.join(allowed)}, not {name!r}")
    return tuple(window if name == sliding else 0 for name in types)


def common_sources(config):
    """Return the `Source` of each tensor, stored as the decoder has it."""
    return {
        name: Source(_stored_name(name), shape) for name, shape in config.tensor_shapes().items()
    }


def _stored_name(name):
    """Return the name that a file has for a decoder's tensor."""
    if name in TOP:
        return TOP[name]
    index, module, kind = name.split(".")
    return f"model.layers.{index}.{LAYER[module]}.{'bias' if kind == 'bias' else 'weight'}"
