"""Random decoders that a configuration can hold."""

from math import sqrt

from hw.spec.formats import BLOCK_LEN
from hw.spec.tables import ACTIVATIONS
from sim.compiler.decoder import LINEARS, DecoderConfig
from sim.compiler.rope_frequencies import linear_frequencies, llama3_frequencies, plain_frequencies

__all__ = ["MOST_VOCAB", "draw_decoder"]

MOST_VOCAB = 160
_MOST_HEADS, _MOST_BLOCKS = 8, 5


def _length(rng, blocks):
    """Return elements that fill so many blocks of 32, the last one perhaps in part; even."""
    return BLOCK_LEN * blocks - (2 * rng.randint(0, 15) if rng.random() < 0.4 else 0)


def _few(rng, most):
    """Return a number from 1 to ``most``, rather a small one: cases are short and many."""
    return min(rng.randint(1, most), rng.randint(1, most))


def _frequencies(rng, head_dim):
    """Return rope frequencies, or None for learned positions."""
    kind = rng.choice(("plain", "plain", "plain", "linear", "llama3", None))
    if kind is None:
        return None
    found = plain_frequencies(head_dim, rng.choice((100.0, 10000.0, 5e5, 1e6)))
    if kind == "linear":
        return linear_frequencies(found, rng.choice((2.0, 4.0)))
    if kind == "llama3":
        return llama3_frequencies(
            found, factor=4.0, low_freq_factor=1.0, high_freq_factor=4.0, context=32
        )
    return found


def draw_decoder(rng, config):
    """Return the `DecoderConfig` of a small model that a chip of ``config`` can hold.

    Parameters
    ----------
    rng : random.Random
    config : ArchConfig
    """
    # Blocks of the activation memory, as `sim.compiler.program.allocate` counts them:
    # max(dim, heads) + max(heads, ffn).
    head_blocks = _few(rng, min(config.max_head_dim // BLOCK_LEN, config.act_blocks // 2))
    most = min(config.act_blocks // 2 // head_blocks, _MOST_HEADS)
    kv_heads = _few(rng, min(most, 4))
    heads = kv_heads * _few(rng, min(most // kv_heads, config.max_rows))
    used = heads * head_blocks
    dim_blocks = _few(rng, min(config.max_dim // BLOCK_LEN, config.act_blocks - used))
    ffn_blocks = _few(rng, min(config.act_blocks - max(dim_blocks, used), _MOST_BLOCKS))
    layers = rng.choice((1, 1, 1, 2, 2, 3))
    head_dim = _length(rng, head_blocks)
    gated = rng.random() < 0.8
    few = rng.random() < 0.5
    context = rng.randint(8, 192)
    return DecoderConfig(
        layers=layers,
        dim=_length(rng, dim_blocks),
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        ffn=_length(rng, ffn_blocks),
        vocab=rng.randint(2, 12) if rng.random() < 0.1 else rng.randint(13, MOST_VOCAB),
        context=context,
        epsilon=rng.choice((1e-5, 1e-6)),
        score_scale=rng.choice((1.0, 1.0, 0.5, 1.5)) / sqrt(head_dim),
        norm=rng.choice(("rms", "rms", "rms", "layer")),
        activation=rng.choice(tuple(ACTIVATIONS)),
        gated=gated,
        biases=tuple(
            name
            for name in (*LINEARS, "head")
            if rng.random() < (0.15 if few else 0.6) and (gated or name != "up")
        ),
        qk_norm=rng.random() < 0.35,
        windows=tuple(
            rng.choice((1, rng.randint(2, 40), rng.randint(2, context)))
            if rng.random() < 0.4
            else 0
            for _ in range(layers)
        ),
        rope_frequencies=_frequencies(rng, head_dim),
        embedding_scale=rng.choice((1.0, 1.0, 8.0)),
        tied=rng.random() < 0.5,
    )
