"""Causal grouped-query attention over the quantised KV cache."""

import numpy as np

from hw.spec.formats import BLOCK_LEN, HEAD_WIDTH, SCORE_WIDTH

from .fixed import bit_length, round_shift, saturate
from .matmul import scaled
from .softmax import MASKED, softmax

__all__ = ["attend", "attention_scores", "normalise", "reciprocal", "weighted_values"]

SUM_BITS = 16  #: significant bits kept of the sum of probabilities
RECIPROCAL_FRACTION = 31  #: fraction bits of its reciprocal, before the sum's own shift


def attention_scores(q, q_exponents, k, k_exponents, start, shift, on_clip=None, window=0):
    """Return scores (kv_heads, rows, group, positions); those that a row does not see are `MASKED`.

    Parameters
    ----------
    q, q_exponents : int8 (rows, heads, head_dim), uint8 (rows, heads, blocks)
    k, k_exponents : int8 (kv_heads, positions, head_dim), uint8 (kv_heads, positions, blocks)
        Everything up to the last row's position.
    start : int
        Position of the first row.
    window : int
        Positions that a row sees, its own and those just before it; 0: all up to its own.
    """
    rows, heads, head_dim = q.shape
    kv_heads, positions, _ = k.shape
    queries = scaled(q, q_exponents).reshape(rows, kv_heads, heads // kv_heads, head_dim)
    queries = queries.transpose(1, 0, 2, 3).reshape(kv_heads, -1, head_dim)
    exact = (queries @ scaled(k, k_exponents).transpose(0, 2, 1)).astype(np.int64)
    scores = exact.reshape(kv_heads, rows, -1, positions)
    scores = round_shift(scores, shift)
    behind = start + np.arange(rows)[:, None] - np.arange(positions)
    unseen = (behind < 0) | (behind >= (window or positions))
    scores = np.where(unseen[:, None, :], 0, scores)
    return np.where(unseen[:, None, :], MASKED, saturate(scores, SCORE_WIDTH, on_clip))


def weighted_values(probs, v, v_exponents, start):
    """Return the exact sums of values, (kv_heads, rows, group, head_dim).

    Each position's exponent is folded into its probability, relative to the largest exponent up
    to the row's own position, whether the row sees all of these or not.
    """
    kv_heads, rows, group, positions = probs.shape
    largest = np.maximum.accumulate(v_exponents, axis=1)[:, start : start + rows].astype(np.int64)
    blocks = v_exponents.shape[-1]
    result = np.empty((kv_heads, rows, group, v.shape[-1]), dtype=np.int64)
    for block in range(blocks):
        top = largest[:, :, block]
        # A later position may have a larger exponent; its probability is 0.
        shift = np.maximum(top[:, :, None] - v_exponents[:, None, :, block], 0)
        folded = round_shift(probs, shift[:, :, None, :]).astype(np.float64)
        part = slice(block * BLOCK_LEN, (block + 1) * BLOCK_LEN)
        exact = folded.reshape(kv_heads, -1, positions) @ v[:, :, part].astype(np.float64)
        exact = exact.astype(np.int64).reshape(kv_heads, rows, group, -1)
        result[..., part] = exact << top[:, :, None, None]
    return result


def reciprocal(sums):
    """Return (multiplier, shift1, shift2) by which `normalise` divides by ``sums``."""
    excess = bit_length(sums) - SUM_BITS
    normal = np.where(excess >= 0, sums >> np.maximum(excess, 0), sums << np.maximum(-excess, 0))
    multiplier = (1 << RECIPROCAL_FRACTION) // normal
    return multiplier, np.maximum(excess, 0), RECIPROCAL_FRACTION + np.minimum(excess, 0)


def normalise(acc, sums, on_clip=None):
    """Divide accumulators (..., head_dim) by the sums of probabilities (...)."""
    multiplier, shift1, shift2 = (part[..., None] for part in reciprocal(sums))
    product = round_shift(acc, shift1) * multiplier
    return saturate(round_shift(product, shift2), HEAD_WIDTH, on_clip)


def attend(q, q_exponents, k, k_exponents, v, v_exponents, start, shift, on_clip=None, window=0):
    """Return the output of all heads (rows, heads * head_dim), before block quantisation."""
    scores = attention_scores(q, q_exponents, k, k_exponents, start, shift, on_clip, window)
    probs, sums = softmax(scores)
    acc = weighted_values(probs, v, v_exponents, start)
    output = normalise(acc, sums, on_clip)
    return output.transpose(1, 0, 2, 3).reshape(q.shape[0], -1)
