"""Tables of the softmax and of the activations: integers, the same on every machine."""

from decimal import Decimal, localcontext

from .formats import EXP_LUT_LEN, HEAD_WIDTH, PROB_WIDTH, SIG_LUT_LEN

__all__ = [
    "ACTIVATIONS",
    "ACTIVATION_STEP_BITS",
    "MAX_TABLE_SHIFT",
    "SIG_ONE",
    "activation_table",
    "exp_table",
]

#: Functions of a feed-forward network, x * gate(x): the field ``activation`` of an operator word.
ACTIVATIONS = {"silu": 0, "gelu": 1, "gelu_tanh": 2, "relu": 3}

#: A gate's table has 2**bits entries for each unit of x.
ACTIVATION_STEP_BITS = {"silu": 4, "gelu": 5, "gelu_tanh": 5, "relu": 5}

SIG_ONE = 32768  #: a gate's 1, which most tables reach only by rounding

#: Bits of x below the index of its table, at most: more would leave nothing of x.
MAX_TABLE_SHIFT = HEAD_WIDTH - 1

_PI = Decimal("3.14159265358979323846264338327950288419716939937510")


def exp_table():
    """Return round(2**14 * 2**(-f/256)) for f in 0..255, the first cut to 14 bits."""
    with localcontext() as context:
        context.prec = 40
        step = Decimal(2) ** (Decimal(-1) / EXP_LUT_LEN)
        one = Decimal(1 << PROB_WIDTH)
        entries = [round(one * step**f) for f in range(EXP_LUT_LEN)]
    return [min((1 << PROB_WIDTH) - 1, entry) for entry in entries]


def _logistic(x):
    return 1 / (1 + (-x).exp())


def _normal(x):
    """Return the probability that a standard normal variable is below x."""
    # All terms are positive: density times x + x**3/3 + x**5/(3*5) + ...
    term = total = x
    odd = 1
    while term > total * Decimal("1e-40"):
        odd += 2
        term *= x * x / odd
        total += term
    return Decimal("0.5") + total * (-x * x / 2).exp() / (2 * _PI).sqrt()


def _tanh_normal(x):
    """Return (1 + tanh(sqrt(2/pi) * (x + 0.044715 x**3))) / 2."""
    return _logistic(2 * (2 / _PI).sqrt() * (x + Decimal("0.044715") * x**3))


def _one(x):
    return Decimal(1)


_GATES = {"silu": _logistic, "gelu": _normal, "gelu_tanh": _tanh_normal, "relu": _one}


def activation_table(name):
    """Return round(2**15 * gate(i / 2**bits)) for i in 0..256, of the activation's gate and bits.

    gate(-x) = 1 - gate(x): relu's, 1 from 0 on, is 0 below.

    Raises
    ------
    ValueError
        A name that is not in `ACTIVATIONS`.
    """
    if name not in ACTIVATIONS:
        raise ValueError(f"activation must be one of {', '.join(ACTIVATIONS)}, not {name!r}")
    steps = 1 << ACTIVATION_STEP_BITS[name]
    with localcontext() as context:
        context.prec = 50
        return [round(SIG_ONE * _GATES[name](Decimal(i) / steps)) for i in range(SIG_LUT_LEN)]
