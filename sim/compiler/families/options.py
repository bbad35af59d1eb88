"""The options of a ``config.json``, each checked where it is read."""

import json
from math import isfinite

__all__ = ["Options"]

#: Activations by Hugging Face's names.
ACTIVATIONS = {
    "silu": "silu",
    "swish": "silu",
    "gelu": "gelu",
    "gelu_python": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "gelu_accurate": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_python_tanh": "gelu_tanh",
    "relu": "relu",
}
#: Options that would change what the model computes: the values that do not, and what it would be.
UNSUPPORTED = {
    "quantization_config": ((), "a file of quantised weights"),
    "num_local_experts": ((0,), "a network of experts"),
    "num_experts": ((0,), "a network of experts"),
    "n_routed_experts": ((0,), "a network of experts"),
    "attn_logit_softcapping": ((), "soft-capping of logits"),
    "final_logit_softcapping": ((), "soft-capping of logits"),
    "query_pre_attn_scalar": ((), "another scale of the scores"),
    "attention_multiplier": ((), "another scale of the scores"),
    "scale_attn_by_inverse_layer_idx": ((False,), "a scale of the scores in each layer"),
    "residual_multiplier": ((1.0,), "a scale of the residual"),
    "embedding_multiplier": ((1.0,), "a scale of the embedding"),
    "logits_scaling": ((1.0,), "a scale of the logits"),
    "logit_scale": ((1.0,), "a scale of the logits"),
    "partial_rotary_factor": ((1.0,), "partial rotary embedding"),
    "rope_interleaved": ((False,), "rotary embedding of neighbours"),
    "no_rope_layers": ((), "a layer without rotary embedding"),
    "use_mrope": ((False,), "multimodal rotary embedding"),
    "alibi": ((False,), "ALiBi"),
    "sliding_window": ((), "a sliding window"),
    "attention_chunk_size": ((), "attention in chunks"),
    "use_bidirectional_attention": ((False,), "attention to later tokens"),
    "add_cross_attention": ((False,), "cross-attention"),
    "is_encoder_decoder": ((False,), "an encoder"),
    "clip_qkv": ((), "clipping of q, k and v"),
    "use_qk_norm": ((False,), "QK-norm"),
    "qk_norm": ((False,), "QK-norm"),
    "use_post_norm": ((False,), "a norm behind attention and network"),
    "parallel_attn": ((False,), "attention beside the network"),
    "use_parallel_residual": ((False,), "attention beside the network"),
    "pruned_heads": (({},), "taking heads out"),
}

#: More than any model has; a damaged file shall not fill the memory.
LARGEST_SIZE = 1 << 24
MOST_LAYERS = 1 << 10


class Options:
    """What a ``config.json`` says; null is like a key that is not there.

    Parameters
    ----------
    values : dict

    Raises
    ------
    ValueError
        From every method: a key that is missing, or a value other than it may be.
    """

    def __init__(self, values):
        self._values = values

    def get(self, key, default=None):
        """Return a value as it stands."""
        value = self._values.get(key)
        return default if value is None else value

    def has(self, key):
        """Tell whether a key is there, if only with null."""
        return key in self._values

    def size(self, key, default=None, largest=LARGEST_SIZE):
        """Return a positive integer; without a default it must be there."""
        value = self.get(key, default)
        if value is None:
            raise ValueError(f"config.json must have {key}")
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ValueError(f"{key} must be a positive integer, not {value!r}")
        if value > largest:
            raise ValueError(f"{key} must be at most {largest}, not {value}")
        return value

    def layers(self, key):
        """Return the number of layers, which must be there."""
        return self.size(key, largest=MOST_LAYERS)

    def number(self, key, default):
        """Return a positive finite number as a float."""
        value = self.get(key, default)
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not number or not 0 < value or not isfinite(value):
            raise ValueError(f"{key} must be a positive finite number, not {value!r}")
        return float(value)

    def flag(self, key, default):
        """Return a bool."""
        value = self.get(key, default)
        if not isinstance(value, bool):
            raise ValueError(f"{key} must be true or false, not {value!r}")
        return value

    def activation(self, key, default):
        """Return an activation by the name that `DecoderConfig` has for it."""
        value = self.get(key, default)
        if not isinstance(value, str) or value not in ACTIVATIONS:
            raise ValueError(f"{key} must be one of {', '.join(ACTIVATIONS)}, not {value!r}")
        return ACTIVATIONS[value]

    def token(self, key):
        """Return a token's number, the first if there are several, or None."""
        value = self.get(key)
        first = value[0] if isinstance(value, list) and value else value
        if first is not None and (not isinstance(first, int) or isinstance(first, bool)):
            raise ValueError(f"{key} must be a token's number, or a list of them, not {value!r}")
        return first

    def refuse_unsupported(self, *supported):
        """Raise ValueError for an option that no model here has, but for those named."""
        for key, (allowed, what) in UNSUPPORTED.items():
            value = self.get(key)
            if value is None or key in supported or any(value == one for one in allowed):
                continue
            allowed = " or ".join(json.dumps(one) for one in allowed or (None,))
            raise ValueError(f"{key} must be {allowed}, not {value!r}: {what} is not supported")
