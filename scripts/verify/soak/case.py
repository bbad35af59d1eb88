"""One case of the soak: everything about a run, from one integer."""

from dataclasses import dataclass
from random import Random

from scripts.verify.soak.chip import describe_chip, draw_chip
from scripts.verify.soak.decoder import draw_decoder
from scripts.verify.soak.memory import draw_timing, slowness
from scripts.verify.soak.requests import draw_requests
from sim.compiler.compile import compile_model
from sim.compiler.quantise import quantise
from sim.compiler.random_tensors import random_tensors, random_tokens
from sim.run.interruption import KINDS, Interruption

__all__ = ["BUDGET", "CASES", "MOST_SEED", "Case", "draw_case"]

CASES = 1000  #: cases of one chip: the chip's seed is the case's divided by it
BUDGET = 150_000  #: cycles that a case takes at most, by estimate, without waits for the memory
MOST_SEED = (1 << 63) - 1  #: of a case

_CALIBRATION = 32  # tokens


@dataclass(frozen=True, kw_only=True)
class Case:
    """What is run.

    Members
    -------
    seed : int
        All follows from it.
    config : ArchConfig
        The chip: that of all cases with the same ``seed // CASES``.
    decoder : DecoderConfig
        The model's shape; its weights are `random_tensors` of ``seed``.
    rounding : dict
        Options of `quantise`.
    context, page_count, max_prefill : int
        As for `compile_model` and `Session`.
    requests : tuple of Request
    timing : dict
        Options of the memory.
    interruptions : tuple of Interruption
    max_cycles : int
        Clock cycles after which it hangs: many times the estimate.
    """

    seed: int
    config: object
    decoder: object
    rounding: dict
    context: int
    page_count: int
    max_prefill: int
    requests: tuple
    timing: dict
    interruptions: tuple
    max_cycles: int

    def model(self):
        """Return its `QuantisedModel`."""
        seed = self.seed % (1 << 32)
        tensors = random_tensors(self.decoder, seed)
        tokens = random_tokens(self.decoder, seed + 1, _CALIBRATION)
        return quantise(self.decoder, tensors, tokens, **self.rounding)

    def compiled(self, model):
        """Return the `CompiledModel` of its chip."""
        return compile_model(model, self.config, context=self.context, page_count=self.page_count)

    def describe(self):
        """Return it in one line."""
        decoder, requests = self.decoder, self.requests
        words = [
            describe_chip(self.config),
            f"{decoder.layers} layers of {decoder.heads}/{decoder.kv_heads} heads",
            f"dim {decoder.dim}, head_dim {decoder.head_dim}, ffn {decoder.ffn}",
            f"vocab {decoder.vocab}, context {self.context}, {self.page_count} pages",
            f"{len(requests)} requests of {'+'.join(str(len(r.prompt)) for r in requests)} tokens",
            *(f"{one.kind} after {one.after_cycles:,} cycles" for one in self.interruptions),
        ]
        return f"seed {self.seed}: {'; '.join(words)}"


def draw_case(seed, config=None):
    """Return the `Case` of a seed; ``config``: on this chip instead of its own.

    Raises
    ------
    ValueError
        A seed that is no integer from 0 to `MOST_SEED`.
    """
    if not isinstance(seed, int) or isinstance(seed, bool) or not 0 <= seed <= MOST_SEED:
        raise ValueError(f"the seed of a case must be 0 to {MOST_SEED}, not {seed!r}")
    config = config or draw_chip(seed // CASES)
    rng = Random(f"case {seed}")
    decoder = draw_decoder(rng, config)
    limit = min(decoder.context, config.max_context)
    context = rng.choice((limit, rng.randint(min(6, limit), limit)))
    page_count = max(rng.randint(1, config.kv_pages) for _ in range(2))
    max_prefill = rng.choice((0, 0, rng.randint(1, config.max_rows)))
    requests, cycles = draw_requests(
        rng,
        config,
        decoder,
        context=context,
        page_count=page_count,
        max_prefill=max_prefill,
        budget=BUDGET,
    )
    timing = draw_timing(rng, config.tiles)
    interruptions = ()
    if rng.random() < 0.35:
        interruptions = tuple(
            Interruption(
                kind=rng.choice(KINDS),
                after_cycles=rng.randint(1, int(cycles * rng.choice((0.1, 1.0, 1.5))) + 500),
                reset_cycles=rng.randint(1, 5),
            )
            for _ in range(rng.choice((1, 1, 2)))
        )
    broken = sum(one.after_cycles for one in interruptions)
    return Case(
        seed=seed,
        config=config,
        decoder=decoder,
        rounding={"smooth": rng.random() < 0.5, "feedback": rng.random() < 0.3},
        context=context,
        page_count=page_count,
        max_prefill=max_prefill,
        requests=requests,
        timing=timing,
        interruptions=interruptions,
        max_cycles=300_000 + broken + int(3 * cycles * slowness(timing)),
    )
