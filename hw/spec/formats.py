"""Widths and constants of the integer formats; the formulas are in `numerics.md`."""

__all__ = [
    "ACC_WIDTH",
    "ACT_WIDTH",
    "BLOCK_LEN",
    "EXP_LUT_LEN",
    "EXP_WIDTH",
    "FFN_WIDTH",
    "GAIN_WIDTH",
    "HEAD_WIDTH",
    "LOGIT_FRACTION",
    "MULTIPLIER_WIDTH",
    "NORM_WIDTH",
    "PROB_PLANE_SHIFT",
    "PROB_WIDTH",
    "PSUM_WIDTH",
    "RESIDUAL_WIDTH",
    "ROPE_FRACTION",
    "ROPE_WIDTH",
    "SCALED_WIDTH",
    "SCORE_FRACTION",
    "SCORE_WIDTH",
    "SIG_LUT_LEN",
]

BLOCK_LEN = 32  #: elements that share one exponent
ACT_WIDTH = 8  #: a block-quantised element, and a weight: signed
EXP_WIDTH = 5  #: a block's exponent: unsigned
PSUM_WIDTH = 20  #: a sum of at most BLOCK_LEN products of two elements: signed
ACC_WIDTH = 48  #: an exact dot product: signed
SCALED_WIDTH = 36  #: an accumulator after its first shift: signed
MULTIPLIER_WIDTH = 17  #: a requantiser's multiplier: unsigned (a channel's scale needs 16)
HEAD_WIDTH = 18  #: q, k, v, gate, up, attention output: signed
NORM_WIDTH = 20  #: output of a norm: signed
FFN_WIDTH = 24  #: product of gate and up: signed
RESIDUAL_WIDTH = 32  #: residual stream, and logits: signed
GAIN_WIDTH = 16  #: gain of a norm: signed
ROPE_WIDTH = 16  #: a cosine or sine: signed
ROPE_FRACTION = 14  #: fraction bits of a cosine or sine
SCORE_WIDTH = 24  #: an attention score: signed
SCORE_FRACTION = 8  #: fraction bits of a score, in base-2 units
PROB_WIDTH = 14  #: a probability before normalisation: unsigned
PROB_PLANE_SHIFT = 7  #: a probability is two planes: p = hi << 7 | lo
LOGIT_FRACTION = 16  #: fraction bits of a logit
EXP_LUT_LEN = 256  #: entries of the table of 2**-f
SIG_LUT_LEN = 257  #: entries of the table of an activation's gate
