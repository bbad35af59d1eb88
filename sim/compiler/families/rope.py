"""The rotary embedding that a ``config.json`` asks for."""

from sim.compiler.rope_frequencies import (
    linear_frequencies,
    llama3_frequencies,
    plain_frequencies,
)

__all__ = ["read_rope_frequencies"]

TYPES = ("default", "linear", "llama3")
KEYS = ("rope_scaling", "rope_parameters")  # transformers up to 4, and from 5 on
THETA = 10000.0


def read_rope_frequencies(options, head_dim):
    """Return `DecoderConfig.rope_frequencies`.

    Raises
    ------
    ValueError
        A way of scaling that is not one of `TYPES`, or a parameter of it that is missing or wrong.
    """
    key = next((key for key in KEYS if options.get(key)), KEYS[0])
    rope = options.get(key, {})
    if not isinstance(rope, dict):
        raise ValueError(f"{key} must be null or an object, not {rope!r}")
    if any(isinstance(value, dict) for value in rope.values()):
        raise ValueError(f"{key} must be the same for all layers, not {rope!r}")
    kind = rope.get("rope_type") or rope.get("type") or "default"
    if kind not in TYPES:
        raise ValueError(f"{key} must be of type {', '.join(TYPES)}, not {kind!r}")
    if rope.get("partial_rotary_factor") not in (None, 1):
        raise ValueError(
            f"partial_rotary_factor must be 1.0, not {rope['partial_rotary_factor']!r}: "
            "partial rotary embedding is not supported"
        )

    def parameter(name):
        if rope.get(name) is None:
            raise ValueError(f"{key} of type {kind} must have {name}")
        return rope[name]

    theta = rope.get("rope_theta")
    theta = options.get("rope_theta", THETA) if theta is None else theta
    frequencies = plain_frequencies(head_dim, theta)
    if kind == "linear":
        return linear_frequencies(frequencies, parameter("factor"))
    if kind == "llama3":
        return llama3_frequencies(
            frequencies,
            factor=parameter("factor"),
            low_freq_factor=parameter("low_freq_factor"),
            high_freq_factor=parameter("high_freq_factor"),
            context=parameter("original_max_position_embeddings"),
        )
    return frequencies
