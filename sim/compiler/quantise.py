"""From float tensors to the integers of `QuantisedModel`; the formulas are in `numerics.md` 3.1."""

from dataclasses import replace
from math import e as euler
from math import log2

import numpy as np

from hw.spec.formats import (
    FFN_WIDTH,
    HEAD_WIDTH,
    LOGIT_FRACTION,
    NORM_WIDTH,
    RESIDUAL_WIDTH,
    ROPE_FRACTION,
    SCORE_FRACTION,
)
from hw.spec.tables import ACTIVATION_STEP_BITS
from sim.golden.model import Layer, ModelShape, QuantisedModel

from .error_feedback import ErrorFeedback
from .float_model import FloatModel
from .fold import fold
from .integers import (
    MAX_FRACTION,
    SCALE_WIDTH,
    WEIGHT_LIMIT,
    ceil_log2,
    fraction_bits,
    pad,
    padded,
    quantise_rows,
    quantised_linear,
    quantised_norm,
    row_multipliers,
)
from .rope_frequencies import rope_angles
from .smooth import smooth_tensors
from .statistics import Statistics

__all__ = ["quantise"]

MAX_RESIDUAL_FRACTION = 16
RESIDUAL_HEADROOM = 4  # bits over the largest residual of the calibration


def quantise(config, tensors, calibration_tokens, *, smooth=True, feedback=True, context=None):
    """Quantise a decoder.

    Parameters
    ----------
    config : DecoderConfig
    tensors : dict of arrays
        By the names of `DecoderConfig.tensor_shapes`.
    calibration_tokens : sequence of int, or of such sequences
        Text on which ranges are measured, each sequence from position 0.
    smooth : bool
        Move the spread of the activations into the weights first (SmoothQuant, alpha 0.5).
    feedback : bool
        Round weights with `ErrorFeedback`; otherwise each by itself.
    context : int
        Positions of the tables, at most the model's own; by default all.

    Returns
    -------
    QuantisedModel

    Raises
    ------
    ValueError
        Tensors that do not fit the configuration, values that no format holds.
    """
    if context is not None and not 0 < context <= config.context:
        raise ValueError(f"context must be 1 to {config.context}, not {context!r}")
    for name in ("score_scale", "embedding_scale"):
        if not getattr(config, name) > 0:
            raise ValueError(f"{name} must be positive, not {getattr(config, name)!r}")
    config, tensors = _with_head(*fold(config, tensors))
    windows = _windows(config, calibration_tokens)
    if smooth:
        statistics = _measure(config, tensors, windows)
        tensors = smooth_tensors(config, tensors, statistics)
    statistics = _measure(config, tensors, windows, products=feedback)
    return _Quantiser(config, tensors, statistics, feedback).model(context or config.context)


def _with_head(config, tensors):
    """Give a tied head weights of its own: the image has them twice anyway, as rows and as strips.

    So they can be smoothed, and rounded for what they multiply.
    """
    if not config.tied:
        return config, tensors
    return replace(config, tied=False), {**tensors, "head.weight": tensors["embedding"]}


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


def _measure(config, tensors, windows, products=False):
    statistics = Statistics(products)
    model = FloatModel(config, tensors)
    for tokens in windows:
        model.hidden(tokens, statistics)
    return statistics


class _Quantiser:
    """One model on its way: configuration, (smoothed) tensors and what they do on text."""

    def __init__(self, config, tensors, statistics, feedback):
        self.config = config
        self.tensors = tensors
        self.statistics = statistics
        self.feedback = feedback
        self.dim = padded(config.dim)
        self.ffn = padded(config.ffn)
        self.head_dim = padded(config.head_dim)
        self.residual_fraction = self._residual_fraction()

    def _residual_fraction(self):
        largest = self._largest("residual")
        headroom = RESIDUAL_WIDTH - 1 - RESIDUAL_HEADROOM
        # One step of a row of a table must fit its multiplier. So a row stays below 2**23, and that
        # of any token at any position below the headroom.
        step = np.abs(self._float("embedding")).max() * self.config.embedding_scale
        if "positions" in self.tensors:
            step = max(step, np.abs(self._float("positions")).max())
        step = float(step) / WEIGHT_LIMIT
        fraction = min(
            MAX_RESIDUAL_FRACTION,
            headroom - ceil_log2(largest or 1.0),
            SCALE_WIDTH - 1 - ceil_log2(step or 1.0),
        )
        if fraction < 0:
            raise ValueError(f"residual must stay below 2**{headroom}, not reach {largest:g}")
        return fraction

    def model(self, context):
        config = self.config
        embedding, multiplier, shift = self._table("embedding", config.embedding_scale)
        tables = {
            "embedding": embedding,
            "embedding_multiplier": multiplier,
            "embedding_shift": shift,
        }
        if "positions" in self.tensors:
            positions, multiplier, shift = self._table("positions", rows=context)
            tables |= {
                "positions": positions,
                "positions_multiplier": multiplier,
                "positions_shift": shift,
            }
        norm, fraction = self._norm("final_norm")
        head = quantised_linear(
            *self._matrix("head", config.vocab, self.dim),
            "head",
            feedback=self._feedback("head_input", self.dim),
            in_width=NORM_WIDTH,
            in_fraction=fraction,
            out_width=RESIDUAL_WIDTH,
            out_fraction=LOGIT_FRACTION,
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
            **tables,
            rope=self._rope(context),
            layers=tuple(self._layer(index) for index in range(config.layers)),
            final_norm=norm,
            head=head,
            bos_token=config.bos_token,
            eos_token=config.eos_token,
            residual_fraction=self.residual_fraction,
        )

    def _float(self, name):
        return np.asarray(self.tensors[name], dtype=np.float64)

    def _bias(self, name):
        return self._float(f"{name}.bias") if f"{name}.bias" in self.tensors else None

    def _table(self, name, extra=1.0, rows=None):
        """Return INT8 rows added to the residual, their multipliers and their shift."""
        table, scale = quantise_rows(self._float(name)[:rows])
        multiplier, shift = row_multipliers(scale * extra * 2.0**self.residual_fraction, name)
        return pad(table, len(table), self.dim), multiplier, shift

    def _feedback(self, name, length, heads=1):
        """Return the rounding for an input padded to ``length``, each head by itself, or None."""
        if not self.feedback:
            return None
        products = self.statistics.mean_products(name)
        channel = np.arange(len(products)).reshape(heads, -1)
        channel += np.arange(heads)[:, None] * (length // heads - channel.shape[1])
        padded_products = np.zeros((length, length))
        padded_products[np.ix_(channel.ravel(), channel.ravel())] = products
        return ErrorFeedback(padded_products)

    def _norm(self, name):
        return quantised_norm(
            pad(self._float(f"{name}.gain"), self.dim),
            name,
            length=self.config.dim,
            epsilon=self.config.epsilon,
            in_fraction=self.residual_fraction,
            out_width=NORM_WIDTH,
        )

    def _rope(self, context):
        config = self.config
        pairs = np.zeros((context, self.head_dim // 2, 2))
        pairs[..., 0] = 1.0
        if config.rope_frequencies is not None:
            angles = rope_angles(config.rope_frequencies, range(context))
            pairs[:, : config.head_dim // 2] = np.stack((np.cos(angles), np.sin(angles)), axis=-1)
        return np.rint(pairs * (1 << ROPE_FRACTION)).astype(np.int16)

    def _heads(self, values, interleave):
        """Return what has a row for each element of each head, the heads padded.

        With ``interleave`` rope's pairs become neighbours.
        """
        size, rest = self.config.head_dim, values.shape[1:]
        values = values.reshape(-1, size, *rest)
        if interleave:
            pairs = values.reshape(len(values), 2, -1, *rest)
            values = pairs.swapaxes(1, 2).reshape(values.shape)
        return pad(values, len(values), self.head_dim, *rest).reshape(-1, *rest)

    def _projection(self, name, interleave=False):
        """Return weight and bias (or None) of q, k or v, padded."""
        weight, bias = self._float(f"{name}.weight"), self._bias(name)
        weight = pad(weight, len(weight), self.dim)
        return (
            self._heads(weight, interleave),
            None if bias is None else self._heads(bias, interleave),
        )

    def _matrix(self, name, outputs, inputs):
        """Return weight and bias (or None), padded."""
        bias = self._bias(name)
        return (
            pad(self._float(f"{name}.weight"), outputs, inputs),
            None if bias is None else pad(bias, outputs),
        )

    def _largest(self, name):
        return float(self.statistics[name])

    def _layer(self, index):
        return Layer(**self._attention(f"{index}."), **self._ffn(f"{index}."))

    def _from_norm(self, matrix, name, feedback, in_fraction, out_fraction, extra=1.0):
        return quantised_linear(
            *matrix,
            name,
            feedback=feedback,
            in_width=NORM_WIDTH,
            in_fraction=in_fraction,
            out_width=HEAD_WIDTH,
            out_fraction=out_fraction,
            extra=extra,
        )

    def _to_residual(self, matrix, name, feedback, in_width, in_fraction):
        return quantised_linear(
            *matrix,
            name,
            feedback=feedback,
            in_width=in_width,
            in_fraction=in_fraction,
            out_width=RESIDUAL_WIDTH,
            out_fraction=self.residual_fraction,
        )

    def _attention(self, prefix):
        config = self.config
        norm, h_fraction = self._norm(prefix + "attention_norm")
        feedback = self._feedback(prefix + "attention_input", self.dim)
        fields, fraction = {"attention_norm": norm}, {}
        # The scores come out in base 2 and scaled.
        extra = {"q": log2(euler) * config.score_scale, "k": 1.0}
        for name in "qk":
            # With a norm, what leaves the projection is scaled by nothing but the norm.
            factor = 1.0 if config.qk_norm else extra[name]
            largest = self._largest(f"{prefix}{name}{'_raw' if config.qk_norm else ''}") * factor
            fraction[name] = fraction_bits(largest, HEAD_WIDTH)
            fields[name] = self._from_norm(
                self._projection(prefix + name, interleave=True),
                prefix + name,
                feedback,
                h_fraction,
                fraction[name],
                factor,
            )
            if config.qk_norm:
                fields[f"{name}_norm"], fraction[name] = quantised_norm(
                    self._heads(self._float(f"{prefix}{name}_norm.gain") * extra[name], True),
                    f"{prefix}{name}_norm",
                    length=config.head_dim,
                    epsilon=config.epsilon,
                    in_fraction=fraction[name],
                    out_width=HEAD_WIDTH,
                )
        score_shift = fraction["q"] + fraction["k"] - SCORE_FRACTION
        if score_shift < 0:
            largest = [self._largest(prefix + name) * extra[name] for name in "qk"]
            raise ValueError(f"{prefix}q and k are too large: {largest[0]:g}, {largest[1]:g}")

        v_fraction = fraction_bits(self._largest(prefix + "v"), HEAD_WIDTH)
        v = self._from_norm(
            self._projection(prefix + "v"), prefix + "v", feedback, h_fraction, v_fraction
        )
        o_heads = self._float(prefix + "o.weight").reshape(config.dim, -1, config.head_dim)
        o_heads = pad(o_heads, self.dim, config.heads, self.head_dim).reshape(self.dim, -1)
        bias = self._bias(prefix + "o")
        bias = None if bias is None else pad(bias, self.dim)
        feedback = self._feedback(prefix + "o_input", o_heads.shape[1], config.heads)
        o = self._to_residual((o_heads, bias), prefix + "o", feedback, HEAD_WIDTH, v_fraction)
        window = config.windows[int(prefix[:-1])]
        return fields | {"v": v, "score_shift": score_shift, "window": window, "o": o}

    def _ffn(self, prefix):
        config = self.config
        norm, h_fraction = self._norm(prefix + "ffn_norm")
        feedback = self._feedback(prefix + "ffn_input", self.dim)
        fraction, linears = {}, {"up": None}
        for name in ("gate", "up") if config.gated else ("gate",):
            fraction[name] = fraction_bits(self._largest(prefix + name), HEAD_WIDTH)
            matrix = self._matrix(prefix + name, self.ffn, self.dim)
            linears[name] = self._from_norm(
                matrix, prefix + name, feedback, h_fraction, fraction[name]
            )
        table_shift = fraction["gate"] - ACTIVATION_STEP_BITS[config.activation]
        if table_shift < 0:
            limit = HEAD_WIDTH - 2 - ACTIVATION_STEP_BITS[config.activation]
            raise ValueError(
                f"{prefix}gate must stay below 2**{limit}, not reach "
                f"{self._largest(prefix + 'gate'):g}"
            )
        product = sum(fraction.values())
        a_fraction = fraction_bits(
            self._largest(prefix + "glu"), FFN_WIDTH, min(MAX_FRACTION, product)
        )
        down = self._matrix(prefix + "down", self.dim, self.ffn)
        feedback = self._feedback(prefix + "down_input", self.ffn)
        return {
            "ffn_norm": norm,
            **linears,
            "activation": config.activation,
            "table_shift": table_shift,
            "glu_shift": product - a_fraction,
            "down": self._to_residual(down, prefix + "down", feedback, FFN_WIDTH, a_fraction),
        }
