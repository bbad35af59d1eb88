"""What the golden model says about a request, in the chip's own passes."""

from dataclasses import dataclass, field

from sim.golden.kv_cache import KvCache
from sim.golden.record import Output
from sim.golden.transformer import Transformer

__all__ = ["GoldenPass", "GoldenRun", "run_golden"]


@dataclass
class GoldenPass:
    """One pass over the program: `sim.golden.record.Output` in program order."""

    start: int  # position of row 0
    outputs: list = field(default_factory=list)

    @property
    def rows(self):
        """Rows of the pass."""
        return len(self.outputs[0].values)


@dataclass(frozen=True)
class GoldenRun:
    """Everything about a request.

    Members
    -------
    tokens : list of int
        What it writes.
    passes : list of GoldenPass
        Those that were recorded, from the first.
    pass_count : int
        How many there are, recorded or not.
    cache : KvCache
        Keys and values at its end.
    saturations : dict
        Results clipped, by operation.
    """

    tokens: list
    passes: list
    pass_count: int
    cache: KvCache
    saturations: dict


def run_golden(
    model, prompt, max_tokens, *, chunk, eos_token=None, check_tokens=None, on_token=None
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
    chunk : int
        Rows of a pass over the prompt at most.
    eos_token : int
        Token that ends the sequence.
    check_tokens : int
        Record only the passes up to this token; by default all.
    on_token : callable
        Called with each token.
    """
    transformer = Transformer(model)
    cache = transformer.new_cache()
    passes, tokens = [], []

    def record(*output):
        if check_tokens is not None and len(tokens) >= check_tokens:
            return
        name, _, start, *_ = output
        if name == "embed":
            passes.append(GoldenPass(start))
        passes[-1].outputs.append(Output(*output))

    for token in transformer.generate(
        prompt, max_tokens, cache=cache, chunk=chunk, eos_token=eos_token, recorder=record
    ):
        tokens.append(token)
        if on_token:
            on_token(token)
    pass_count = -(-len(prompt) // chunk) + len(tokens) - 1
    return GoldenRun(tokens, passes, pass_count, cache, dict(transformer.saturations))
