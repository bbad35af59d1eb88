"""Measures what quantisation costs: the float32 model and the golden model on the same text."""

from dataclasses import dataclass, field
from math import exp, log10, sqrt

import numpy as np

from hw.spec.formats import LOGIT_FRACTION
from sim.compiler.float_model import FloatModel
from sim.compiler.fold import fold
from sim.golden.transformer import Transformer

__all__ = ["Evaluation", "evaluate", "windows_of"]

ROWS = 256  # of a pass of the golden model: more are not faster, and logits in INT64 are large


@dataclass
class Evaluation:
    """What both models make of the same tokens, each predicted from those before it.

    Members
    -------
    float_losses, golden_losses : list of float arrays
        Negative log likelihood (nats) of every token.
    agrees : list of bool arrays
        Whether both models rank the same token first.
    noise : dict
        Of the residual after the embedding, the learned positions and each layer: mean over the
        tokens so far of the power of its difference, relative to the power of float32's.
    saturations : dict
        Results that the golden model clipped, by operation.
    """

    float_losses: list = field(default_factory=list)
    golden_losses: list = field(default_factory=list)
    agrees: list = field(default_factory=list)
    noise: dict = field(default_factory=dict)
    saturations: dict = field(default_factory=dict)

    @property
    def tokens(self):
        """Tokens predicted."""
        return sum(len(losses) for losses in self.float_losses)

    @property
    def float_perplexity(self):
        """Of the float32 model."""
        return exp(np.concatenate(self.float_losses).mean())

    @property
    def golden_perplexity(self):
        """Of the golden model."""
        return exp(np.concatenate(self.golden_losses).mean())

    @property
    def loss_differences(self):
        """Loss of the golden model less that of float32, of every token."""
        pairs = zip(self.golden_losses, self.float_losses, strict=True)
        return np.concatenate([golden - real for golden, real in pairs])

    @property
    def ratio(self):
        """Perplexity of the golden model relative to that of float32, and its standard error.

        The error is of the mean of the differences token by token.
        """
        differences = self.loss_differences
        ratio = exp(differences.mean())
        if len(differences) < 2:
            return ratio, float("nan")
        return ratio, ratio * differences.std(ddof=1) / sqrt(len(differences))

    @property
    def agreement(self):
        """Share of the tokens for which both models rank the same token first."""
        return float(np.concatenate(self.agrees).mean())

    @property
    def signal_to_noise(self):
        """Decibels of the residual, by the place where it is taken."""
        return {
            place: -10 * log10(noise) if noise > 0 else float("inf")
            for place, noise in self.noise.items()
        }


def windows_of(tokens, length, limit=None):
    """Cut a text into windows of ``length`` predicted tokens, each with one before them.

    Parameters
    ----------
    tokens : sequence of int
        The text.
    length : int
        Tokens predicted in a window; the last one may have fewer.
    limit : int
        Tokens predicted at most; by default all.

    Raises
    ------
    ValueError
        No token to predict.
    """
    tokens = list(tokens)[: None if limit is None else limit + 1]
    windows = [tokens[at : at + length + 1] for at in range(0, len(tokens) - 1, length)]
    if not windows:
        raise ValueError(f"the text must have two tokens at least, not {len(tokens)}")
    return windows


def evaluate(config, tensors, model, windows, on_window=None):
    """Run both models over windows of text, each from position 0.

    Parameters
    ----------
    config, tensors : DecoderConfig, dict of arrays
        The checkpoint.
    model : QuantisedModel
        Made of it.
    windows : list of lists of int
        As `windows_of` makes them.
    on_window : callable
        Called after each window with the `Evaluation` so far.

    Returns
    -------
    Evaluation
    """
    # Folded, it computes the same, and its residual is the golden model's.
    real, golden = FloatModel(*fold(config, tensors)), Transformer(model)
    result = Evaluation(saturations=golden.saturations)
    for window in windows:
        inputs, targets = window[:-1], np.asarray(window[1:])
        seen = _Residuals(real.config.dim)
        losses, best = _losses(real.forward(inputs, seen), targets)
        result.float_losses.append(losses)

        cache, parts, agrees = golden.new_cache(), [], []
        for start in range(0, len(inputs), ROWS):
            rows = slice(start, start + ROWS)
            logits = golden.step(inputs[rows], cache, recorder=seen.compare, emit="all")
            part, choice = _losses(
                np.ldexp(logits.astype(np.float64), -LOGIT_FRACTION), targets[rows]
            )
            parts.append(part)
            agrees.append(choice == best[rows])
        result.golden_losses.append(np.concatenate(parts))
        result.agrees.append(np.concatenate(agrees))
        _add_noise(result, seen.noise(model.residual_fraction), len(inputs))
        if on_window:
            on_window(result)
    return result


def _losses(logits, targets):
    """Return the negative log likelihood of the targets, and the token ranked first."""
    largest = logits.max(axis=-1)
    total = np.exp(logits - largest[:, None]).sum(axis=-1, dtype=np.float64)
    chosen = logits[np.arange(len(targets)), targets].astype(np.float64)
    return largest + np.log(total) - chosen, logits.argmax(axis=-1)


def _add_noise(result, noise, count):
    share = count / result.tokens
    for place, values in noise.items():
        before = result.noise.get(place, 0.0)
        result.noise[place] = before + (values.mean() - before) * share


class _Residuals:
    """Residuals of both models; takes the place of `Statistics` and of a recorder."""

    def __init__(self, dim):
        self._dim = dim
        self._real, self._golden = [], {}

    def add(self, name, x, per_channel=False):
        if name == "residual":
            self._real.append(x)

    def compare(self, name, kind, start, values, exponents=None):
        if kind == "residual":
            self._golden.setdefault(name, []).append(values[:, : self._dim])

    def noise(self, fraction):
        """Return the relative power of the difference of each row, after each whole layer."""
        result = {}
        for (name, values), real in zip(self._golden.items(), self._real, strict=True):
            if name not in ("embed", "positions") and not name.endswith(" down"):
                continue
            real = real.astype(np.float64)
            difference = np.ldexp(np.concatenate(values).astype(np.float64), -fraction) - real
            power = np.maximum((real**2).sum(axis=-1), np.finfo(np.float64).tiny)
            result[name.removesuffix(" down")] = (difference**2).sum(axis=-1) / power
        return result
