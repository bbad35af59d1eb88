"""A whole transformer: the token path that the hardware must follow bit for bit."""

from collections import Counter
from functools import partial

import numpy as np

from hw.spec.formats import HEAD_WIDTH

from .activation import activate
from .attention import attend
from .block_quantise import block_quantise
from .embedding import embed
from .kv_cache import KvCache
from .matmul import as_operand, dot
from .requantise import requantise
from .residual import add_residual
from .rmsnorm import rms_norm
from .rope import rope
from .sampling import GREEDY

__all__ = ["Transformer"]

FAST_WEIGHTS = 1 << 25  # a model of at most so many weights is kept in float64, ready to multiply


class Transformer:
    """Runs a quantised model.

    Parameters
    ----------
    model : QuantisedModel

    Attributes
    ----------
    saturations : Counter
        Results clipped so far, by operation.
    """

    def __init__(self, model):
        self.model = model
        self.saturations = Counter()
        linears = [
            linear
            for layer in model.layers
            for linear in (layer.q, layer.k, layer.v, layer.o, layer.gate, layer.up, layer.down)
            if linear is not None
        ]
        weights = [linear.weight for linear in (*linears, model.head)]
        fast = sum(weight.size for weight in weights) <= FAST_WEIGHTS
        self._operands = {id(w): as_operand(w) if fast else w for w in weights}

    def new_cache(self):
        """Return the state of a sequence that has not begun."""
        return KvCache(self.model.shape)

    def step(self, tokens, cache, *, recorder=None, emit="last"):
        """Run one pass over the next tokens of a sequence, one row for each.

        How a sequence is cut into passes changes no bit of it.

        Parameters
        ----------
        tokens : sequence of int
        cache : KvCache
            The sequence so far; the pass appends to it.
        recorder : callable
            Called as `Recorder` with every operator's output.
        emit : str
            ``last``: return logits (1, vocab) of the last row, as the hardware does. ``all``:
            of all rows. ``none``: return None, and leave final norm and head out.
        """
        model = self.model
        tokens = np.asarray(tokens, dtype=np.int64)
        start = cache.length
        self._check(tokens, start, emit)
        record = partial(_record, recorder, start)

        table = model.rope[start : start + len(tokens)]
        x = embed(
            model.embedding[tokens], model.embedding_multiplier[tokens], model.embedding_shift
        )
        record("embed", "residual", x)
        if model.positions is not None:
            rows = slice(start, start + len(tokens))
            learned = embed(
                model.positions[rows], model.positions_multiplier[rows], model.positions_shift
            )
            x = add_residual(x, learned, self._clip("residual"))
            record("positions", "residual", x)
        for index, layer in enumerate(model.layers):
            name = f"layer {index} "
            h = block_quantise(_norm(layer.attention_norm, x))
            record(name + "attention norm", "blocks", *h)

            q = self._heads(self._linear(layer.q, h, "q"), table, layer.q_norm)
            k = self._heads(self._linear(layer.k, h, "k"), table, layer.k_norm)
            v = self._heads(self._linear(layer.v, h, "v"))
            for kind, blocks in (("q", q), ("k", k), ("v", v)):
                record(name + "qkv", kind, *blocks)
            cache.write(index, start, *k, *v)

            past = cache.read(index, start + len(tokens))
            clip = self._clip("attention")
            mixed = attend(*q, *past, start, layer.score_shift, clip, window=layer.window)
            h = block_quantise(mixed)
            record(name + "attention", "blocks", *h)
            x = add_residual(x, self._linear(layer.o, h, "o"), self._clip("residual"))
            record(name + "o", "residual", x)

            h = block_quantise(_norm(layer.ffn_norm, x))
            record(name + "ffn norm", "blocks", *h)
            gate = self._linear(layer.gate, h, "gate")
            up = None if layer.up is None else self._linear(layer.up, h, "up")
            shifts, clip = (layer.table_shift, layer.glu_shift), self._clip("glu")
            h = block_quantise(activate(gate, up, layer.activation, *shifts, clip))
            record(name + "glu", "blocks", *h)
            x = add_residual(x, self._linear(layer.down, h, "down"), self._clip("residual"))
            record(name + "down", "residual", x)
        cache.length += len(tokens)

        if emit == "none":
            return None
        h = block_quantise(_norm(model.final_norm, x if emit == "all" else x[-1:]))
        record("final norm", "blocks", *h)
        logits = self._linear(model.head, h, "head").astype(np.int32)
        record("logits", "logits", logits)
        return logits

    def prefill(self, tokens, cache, *, chunk=None, recorder=None):
        """Run a prompt in passes of at most ``chunk`` rows; return logits (1, vocab) of its end."""
        tokens = list(tokens)
        chunk = chunk or len(tokens)
        last = (len(tokens) - 1) // chunk * chunk
        for first in range(0, last, chunk):
            self.step(tokens[first : first + chunk], cache, recorder=recorder, emit="none")
        return self.step(tokens[last:], cache, recorder=recorder)

    def generate(
        self,
        prompt,
        count,
        *,
        cache=None,
        chunk=None,
        eos_token=None,
        sampling=GREEDY,
        recorder=None,
    ):
        """Yield at most ``count`` tokens, drawn by `Sampling`; ``eos_token`` is the last one."""
        cache = cache or self.new_cache()
        logits = self.prefill(prompt, cache, chunk=chunk, recorder=recorder)
        for index in range(count):
            token = sampling.draw(logits[0], cache.length)
            yield token
            if token == eos_token or index == count - 1:
                return
            logits = self.step([token], cache, recorder=recorder)

    def _check(self, tokens, start, emit):
        shape = self.model.shape
        if emit not in ("last", "all", "none"):
            raise ValueError(f"emit must be last, all or none, not {emit!r}")
        if tokens.ndim != 1 or not len(tokens):
            raise ValueError("tokens must be one or more")
        if tokens.min() < 0 or tokens.max() >= shape.vocab:
            raise ValueError(f"tokens must be 0 to {shape.vocab - 1}, not {tokens.tolist()}")
        if start + len(tokens) > shape.context:
            raise ValueError(
                f"tokens must end within the context of {shape.context} positions, "
                f"not at {start + len(tokens)}"
            )

    def _clip(self, name):
        def count(clipped):
            self.saturations[name] += clipped

        return count

    def _linear(self, linear, blocks, name):
        acc = dot(*blocks, self._operands[id(linear.weight)])
        return requantise(
            acc,
            linear.multiplier,
            linear.shift1,
            linear.shift2,
            linear.out_width,
            linear.bias,
            self._clip(name),
        )

    def _heads(self, x, table=None, norm=None):
        """Split into heads, normalise and rotate them if there is a norm and a table, quantise."""
        x = x.reshape(x.shape[0], -1, self.model.shape.head_dim)
        if norm is not None:
            x = _norm(norm, x.reshape(-1, x.shape[-1]), HEAD_WIDTH).reshape(x.shape)
        return block_quantise(x if table is None else rope(x, table, self._clip("rope")))


def _norm(norm, x, *width):
    return rms_norm(x, norm.gain, norm.shift, norm.epsilon, *width)


def _record(recorder, start, name, kind, values, exponents=None):
    if recorder is not None:
        if kind == "residual":
            values = values.astype(np.int32)
        recorder(name, kind, start, values, exponents)
