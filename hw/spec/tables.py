"""Tables of the softmax and of the sigmoid: integers, the same on every machine."""

from decimal import Decimal, localcontext

from .formats import EXP_LUT_LEN, PROB_WIDTH, SIG_LUT_LEN

__all__ = ["ACTIVATIONS", "SIG_ONE", "exp_table", "sig_table"]

#: Functions of a feed-forward network, x * gate(x): the field ``activation`` of an operator word.
ACTIVATIONS = {"silu": 0, "gelu": 1, "gelu_tanh": 2, "relu": 3}

SIG_ONE = 32768  #: the sigmoid's 1, which its table reaches only by rounding


def exp_table():
    """Return round(2**14 * 2**(-f/256)) for f in 0..255, the first cut to 14 bits."""
    with localcontext() as context:
        context.prec = 40
        step = Decimal(2) ** (Decimal(-1) / EXP_LUT_LEN)
        one = Decimal(1 << PROB_WIDTH)
        entries = [round(one * step**f) for f in range(EXP_LUT_LEN)]
    return [min((1 << PROB_WIDTH) - 1, entry) for entry in entries]


def sig_table():
    """Return round(2**15 / (1 + exp(-i/16))) for i in 0..256."""
    with localcontext() as context:
        context.prec = 40
        return [round(SIG_ONE / (1 + (Decimal(-i) / 16).exp())) for i in range(SIG_LUT_LEN)]
