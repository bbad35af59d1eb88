"""From float tensors to the integers of `QuantisedModel`; the formulas are in `numerics.md` 3.1."""

from math import e as euler
from math import frexp, log2, sqrt

import numpy as np

from hw.spec.formats import (
    ACT_WIDTH,
    BLOCK_LEN,
    FFN_WIDTH,
    GAIN_WIDTH,
    HEAD_WIDTH,
    LOGIT_FRACTION,
    NORM_WIDTH,
    RESIDUAL_WIDTH,
    ROPE_FRACTION,
    SCORE_FRACTION,
)
from sim.golden.model import Layer, Linear, ModelShape, Norm, QuantisedModel
from sim.golden.rmsnorm import UNIT_FRACTION

from .float_model import FloatModel, LlamaConfig, Statistics, rope_angles
from .smooth import smooth_tensors

__all__ = ["quantise"]

SCALE_WIDTH = 16  # a channel's multiplier: unsigned
MAX_SHIFT2 = 47
MAX_FRACTION = 20  # of anything but logits
MAX_RESIDUAL_FRACTION = 16
RESIDUAL_HEADROOM = 4  # bits over the largest residual of the calibration
WEIGHT_LIMIT = (1 << (ACT_WIDTH - 1)) - 1


def quantise(config, tensors, calibration_tokens, *, smooth=True, context=None):
    """Quantise a Llama.

    Parameters
    ----------
    config : dict
        Its ``config.json``.
    tensors : dict of arrays
        By Hugging Face's names.
    calibration_tokens : sequence of int, or of such sequences
        Text on which ranges are measured, each sequence from position 0.
    smooth : bool
        Move the spread of the activations into the weights first (SmoothQuant, alpha 0.5).
    context : int
        Positions of the rope table, at most the model's own; by default all.

    Returns
    -------
    QuantisedModel

    Raises
    ------
    ValueError
        A configuration that is no Llama, tensors that do not fit it, values that no format holds.
    """
    config = LlamaConfig.from_json(config)
    if context is not None and not 0 < context <= config.context:
        raise ValueError(f"context must be 1 to {config.context}, not {context!r}")
    windows = _windows(config, calibration_tokens)
    if smooth:
        statistics = _measure(config, tensors, windows)
        tensors = smooth_tensors(config, tensors, statistics)
    statistics = _measure(config, tensors, windows)
    return _Quantiser(config, tensors, statistics).model(context or config.context)


def _windows(config, tokens):
    sequences = list(tokens)
    if sequences and np.ndim(sequences[0]) == 0:
        sequences = [sequences]
    sequences = [np.asarray(sequence)[: config.context] for sequence in sequences]
    if not sequences or not all(len(sequence) for sequence in sequences):
        raise ValueError("calibration_tokens must hold one token at least in each sequence")
    largest = max(int(sequence.max()) for sequence in sequences)
    if largest >= config.vocab:
        raise ValueError(f"calibration_tokens must be below {config.vocab}, not {largest}")
    return sequences


def _measure(config, tensors, windows):
    statistics = Statistics()
    model = FloatModel(config, tensors)
    for tokens in windows:
        model.hidden(tokens, statistics)
    return statistics


def _floor_log2(x):
    return frexp(x)[1] - 1


def _ceil_log2(x):
    mantissa, exponent = frexp(x)
    return exponent - 1 if mantissa == 0.5 else exponent


def _padded(length):
    return -(-length // BLOCK_LEN) * BLOCK_LEN


def _pad(x, *lengths):
    return np.pad(x, [(0, length - old) for old, length in zip(x.shape, lengths, strict=True)])


def _fraction(largest, width, limit=MAX_FRACTION):
    """Return the most fraction bits that leave a bit of headroom over the largest value."""
    return min(limit, width - 2 - _ceil_log2(largest)) if largest > 0 else limit


def _quantise_rows(weight):
    """Return INT8 rows and the scale of each."""
    scale = np.abs(weight).max(axis=1) / WEIGHT_LIMIT
    rows = np.rint(weight / np.where(scale > 0, scale, 1)[:, None])
    return np.clip(rows, -WEIGHT_LIMIT, WEIGHT_LIMIT).astype(np.int8), scale


def _multipliers(ratios, what):
    """Return (multiplier, shift) so that ``multiplier / 2**shift`` is each ratio."""
    largest = float(ratios.max())
    shift = SCALE_WIDTH - 1 - _floor_log2(largest) if largest > 0 else 0
    if np.rint(largest * 2.0**shift) >= 1 << SCALE_WIDTH:
        shift -= 1
    if not 0 <= shift <= MAX_SHIFT2:
        raise ValueError(f"{what}: the requantiser's shift must be 0 to {MAX_SHIFT2}, not {shift}")
    return np.rint(ratios * 2.0**shift).astype(np.uint16), shift


def _linear(weight, what, *, in_width, in_fraction, out_width, out_fraction, extra=1.0):
    rows, scale = _quantise_rows(weight)
    return _scaled_linear(rows, scale * extra, what, in_width, in_fraction, out_width, out_fraction)


def _scaled_linear(rows, scale, what, in_width, in_fraction, out_width, out_fraction):
    largest = int(np.abs(rows.astype(np.int64)).sum(axis=1).max())
    shift1 = max(0, _ceil_log2(largest) + in_width - 1 - 31) if largest else 0
    multiplier, shift2 = _multipliers(scale * 2.0 ** (out_fraction - in_fraction + shift1), what)
    return Linear(rows, multiplier, shift1, shift2, out_width)


def _norm(gain, epsilon, dim, residual_fraction):
    """Return the norm, and the fraction bits of its output, which a hard bound gives."""
    scaled = np.asarray(gain, dtype=np.float64) * sqrt(dim)
    largest = float(np.abs(scaled).max()) or 1.0
    fraction = NORM_WIDTH - 1 - _ceil_log2(largest)
    gain_fraction = GAIN_WIDTH - 2 - _floor_log2(largest)
    if np.rint(largest * 2.0**gain_fraction) >= 1 << (GAIN_WIDTH - 1):
        gain_fraction -= 1
    integers = np.rint(scaled * 2.0**gain_fraction).astype(np.int16)
    shift = UNIT_FRACTION + gain_fraction - fraction
    square = round(epsilon * dim * 2.0 ** (2 * residual_fraction))
    return Norm(_pad(integers, _padded(dim)), shift, square), fraction


class _Quantiser:
    """One model on its way: configuration, (smoothed) tensors and what they do on text."""

    def __init__(self, config, tensors, statistics):
        self.config = config
        self.tensors = tensors
        self.statistics = statistics
        self.dim = _padded(config.dim)
        self.ffn = _padded(config.ffn)
        self.head_dim = _padded(config.head_dim)
        largest = float(statistics["residual"])
        headroom = RESIDUAL_WIDTH - 1 - RESIDUAL_HEADROOM
        step = float(np.abs(tensors["model.embed_tokens.weight"]).max()) / WEIGHT_LIMIT
        self.residual_fraction = min(
            MAX_RESIDUAL_FRACTION,
            headroom - _ceil_log2(largest or 1.0),
            # One step of an embedding row must fit its multiplier.
            SCALE_WIDTH - 1 - _ceil_log2(step or 1.0),
        )
        if self.residual_fraction < 0:
            raise ValueError(f"residual must stay below 2**{headroom}, not reach {largest:g}")

    def model(self, context):
        config = self.config
        embedding, scale = _quantise_rows(self._float("model.embed_tokens"))
        embedding = _pad(embedding, config.vocab, self.dim)
        multiplier, shift = _multipliers(scale * 2.0**self.residual_fraction, "embedding")
        norm, fraction = self._norm("model.norm")
        if config.tied:
            rows, head_scale = embedding, scale
        else:
            rows, head_scale = _quantise_rows(self._float("lm_head"))
            rows = _pad(rows, config.vocab, self.dim)
        head = _scaled_linear(
            rows, head_scale, "head", NORM_WIDTH, fraction, RESIDUAL_WIDTH, LOGIT_FRACTION
        )
        return QuantisedModel(
            shape=ModelShape(
                layers=config.layers,
                dim=self.dim,
                heads=config.heads,
                kv_heads=config.kv_heads,
                head_dim=self.head_dim,
                ffn=self.ffn,
                vocab=config.vocab,
                context=context,
            ),
            embedding=embedding,
            embedding_multiplier=multiplier,
            embedding_shift=shift,
            rope=self._rope(context),
            layers=tuple(self._layer(index) for index in range(config.layers)),
            final_norm=norm,
            head=head,
            bos_token=config.bos_token,
            eos_token=config.eos_token,
            residual_fraction=self.residual_fraction,
        )

    def _float(self, name):
        return np.asarray(self.tensors[name + ".weight"], dtype=np.float64)

    def _norm(self, name):
        return _norm(
            self._float(name), self.config.epsilon, self.config.dim, self.residual_fraction
        )

    def _rope(self, context):
        angles = rope_angles(self.config, range(context))
        pairs = np.stack((np.cos(angles), np.sin(angles)), axis=-1)
        pairs = np.pad(pairs, ((0, 0), (0, (self.head_dim - self.config.head_dim) // 2), (0, 0)))
        pairs[:, self.config.head_dim // 2 :, 0] = 1.0
        return np.rint(pairs * (1 << ROPE_FRACTION)).astype(np.int16)

    def _head_rows(self, name, interleave):
        """Return rows of heads, padded; with ``interleave`` rope's pairs become neighbours."""
        weight = self._float(name).reshape(-1, self.config.head_dim, self.config.dim)
        if interleave:
            pairs = weight.reshape(len(weight), 2, -1, self.config.dim)
            weight = pairs.swapaxes(1, 2).reshape(weight.shape)
        return _pad(weight, len(weight), self.head_dim, self.dim).reshape(-1, self.dim)

    def _layer(self, index):
        prefix, config = f"model.layers.{index}.", self.config
        largest = {
            name: float(self.statistics[f"{index}.{name}"])
            for name in ("q", "k", "v", "gate", "up", "glu")
        }
        # The scores come out in base 2 and divided by the root of the head's length.
        q_extra = log2(euler) / sqrt(config.head_dim)
        largest["q"] *= q_extra
        fraction = {name: _fraction(value, HEAD_WIDTH) for name, value in largest.items()}
        if fraction["gate"] < 4:
            raise ValueError(f"{prefix}gate must stay below 2**12, not reach {largest['gate']:g}")
        score_shift = fraction["q"] + fraction["k"] - SCORE_FRACTION
        if score_shift < 0:
            raise ValueError(f"{prefix}q and k are too large: {largest['q']:g}, {largest['k']:g}")
        gate_up = fraction["gate"] + fraction["up"]
        fraction["glu"] = _fraction(largest["glu"], FFN_WIDTH, min(MAX_FRACTION, gate_up))

        attention_norm, h_fraction = self._norm(prefix + "input_layernorm")

        def from_norm(weight, name, h_fraction, extra=1.0):
            return _linear(
                weight,
                prefix + name,
                in_width=NORM_WIDTH,
                in_fraction=h_fraction,
                out_width=HEAD_WIDTH,
                out_fraction=fraction[name],
                extra=extra,
            )

        def to_residual(weight, name, in_width, in_fraction):
            return _linear(
                weight,
                prefix + name,
                in_width=in_width,
                in_fraction=in_fraction,
                out_width=RESIDUAL_WIDTH,
                out_fraction=self.residual_fraction,
            )

        attention = prefix + "self_attn."
        q = from_norm(self._head_rows(attention + "q_proj", True), "q", h_fraction, q_extra)
        k = from_norm(self._head_rows(attention + "k_proj", True), "k", h_fraction)
        v = from_norm(self._head_rows(attention + "v_proj", False), "v", h_fraction)
        o_heads = self._float(attention + "o_proj").reshape(config.dim, -1, config.head_dim)
        o_heads = _pad(o_heads, self.dim, config.heads, self.head_dim).reshape(self.dim, -1)
        o = to_residual(o_heads, "o", HEAD_WIDTH, fraction["v"])

        ffn_norm, h_fraction = self._norm(prefix + "post_attention_layernorm")
        gate, up = (
            _pad(self._float(f"{prefix}mlp.{name}_proj"), self.ffn, self.dim)
            for name in ("gate", "up")
        )
        down = _pad(self._float(prefix + "mlp.down_proj"), self.dim, self.ffn)
        return Layer(
            attention_norm=attention_norm,
            q=q,
            k=k,
            v=v,
            score_shift=score_shift,
            o=o,
            ffn_norm=ffn_norm,
            gate=from_norm(gate, "gate", h_fraction),
            up=from_norm(up, "up", h_fraction),
            gate_fraction=fraction["gate"],
            glu_shift=gate_up - fraction["glu"],
            down=to_residual(down, "down", FFN_WIDTH, fraction["glu"]),
        )
