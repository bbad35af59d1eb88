"""What the golden model says about a request, alone: every output of every position."""

from dataclasses import dataclass, field

import numpy as np

from sim.golden.kv_cache import KvCache
from sim.golden.sampler import top_candidates
from sim.golden.sampling import GREEDY, Sampling
from sim.golden.transformer import Transformer

__all__ = ["CHUNK", "GoldenRun", "Rows", "run_golden"]

CHUNK = 64  #: rows of a pass; it changes no bit


@dataclass(frozen=True)
class Rows:
    """What an operator wrote at the positions from ``first`` on; arrays as `Output` has them."""

    first: int
    values: np.ndarray
    exponents: np.ndarray | None

    def __contains__(self, position):
        return self.first <= position < self.first + len(self.values)


@dataclass(frozen=True)
class GoldenRun:
    """Everything about a request.

    Members
    -------
    tokens : list of int
        What it writes.
    prompt_len : int
        Positions of its prompt; the last of them gives the first token.
    rows : dict
        Name and kind of an output to its `Rows`, in program order, as far as they were recorded.
    cache : KvCache
        Keys and values at its end.
    saturations : dict
        Results clipped, by operation.
    start_pos : int
        Position of the first row that the chip computes: what is before it is shared.
    sampling : Sampling
        How its tokens are drawn.
    candidates : list
        For each token the list of (token, logit) that is reported with it, if any are.
    """

    tokens: list
    prompt_len: int
    rows: dict
    cache: KvCache
    saturations: dict
    start_pos: int = 0
    sampling: Sampling = GREEDY
    candidates: list = field(default_factory=list)

    @property
    def length(self):
        """Positions that are fed: the last token is not."""
        return self.prompt_len + len(self.tokens) - 1

    def emits(self, position):
        """Return whether the row at a position gives a token."""
        return position >= self.prompt_len - 1

    def token_at(self, position):
        """Return the token that a row gives; None where there is none, or none is known."""
        index = position - self.prompt_len + 1
        return self.tokens[index] if 0 <= index < len(self.tokens) else None


def run_golden(
    model,
    prompt,
    max_tokens,
    *,
    eos_token=None,
    sampling=GREEDY,
    report=0,
    check_tokens=None,
    on_token=None,
):
    """Run a request on the golden model.

    Parameters
    ----------
    model : QuantisedModel
        The model.
    prompt : sequence of int
        Its tokens.
    max_tokens : int
        Tokens to write at most.
    eos_token : int
        Token that ends the sequence.
    sampling : Sampling
        How tokens are drawn.
    report : int
        Candidates to report with each token.
    check_tokens : int
        Record only the passes up to this token; by default all.
    on_token : callable
        Called with each token.
    """
    transformer = Transformer(model)
    cache = transformer.new_cache()
    parts, tokens, candidates = {}, [], []
    end = 0  # position behind the last row of the pass

    def record(name, kind, start, values, exponents=None):
        nonlocal end
        if kind == "logits" and report:
            logits, ids = top_candidates(values[-1], report)
            candidates.append([*zip(ids.tolist(), logits.tolist(), strict=True)])
        if check_tokens is not None and len(tokens) >= check_tokens:
            return
        if name == "embed":
            end = start + len(values)
        # Operators of rows that give a token have the last row only.
        parts.setdefault((name, kind), []).append((end - len(values), values, exponents))

    for token in transformer.generate(
        prompt,
        max_tokens,
        cache=cache,
        chunk=CHUNK,
        eos_token=eos_token,
        sampling=sampling,
        recorder=record,
    ):
        tokens.append(token)
        if on_token:
            on_token(token)
    rows = {key: _joined(found) for key, found in parts.items()}
    return GoldenRun(
        tokens,
        len(prompt),
        rows,
        cache,
        dict(transformer.saturations),
        sampling=sampling,
        candidates=candidates,
    )


def _joined(parts):
    starts, values, exponents = zip(*parts, strict=True)
    return Rows(
        starts[0],
        np.concatenate(values),
        None if exponents[0] is None else np.concatenate(exponents),
    )
