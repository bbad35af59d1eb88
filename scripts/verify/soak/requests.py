"""Random requests that a chip with a model can run to their end, and what they cost."""

from sim.compiler.integers import padded
from sim.golden.sampler import MAX_TEMPERATURE, MIN_TEMPERATURE
from sim.run.session import Request

__all__ = ["Cost", "draw_requests"]

_MOST_REQUESTS = 6
_LONGEST = (100, 30, 10, 3)  # tokens of a prompt, and to write: tried until there is room


class Cost:
    """Estimates clock cycles of a run, well enough to keep cases short and to see that one hangs.

    Parameters
    ----------
    config : ArchConfig
    decoder : DecoderConfig
    """

    def __init__(self, config, decoder):
        dim, ffn, head = (padded(n) for n in (decoder.dim, decoder.ffn, decoder.head_dim))
        queries, keys = decoder.heads * head, decoder.kv_heads * head
        layer = dim * (2 * queries + 2 * keys + (3 if decoder.gated else 2) * ffn)
        weights = decoder.layers * layer + dim * padded(decoder.vocab)
        width = config.cols * min(config.tiles, config.strip_tiles)
        vectors = 6 * dim + 3 * (queries + keys) + 4 * ffn
        self._pass = weights // width + 300 * decoder.layers
        attention = queries * (config.max_context // 2) // config.cols
        self._row = weights // (width * config.rows) + decoder.layers * (
            2 * vectors // config.lanes + 2 * attention // config.rows + 60
        )

    def cycles(self, rows, passes):
        """Return cycles of so many passes that have so many rows in all."""
        return passes * self._pass + rows * self._row


def _sampling(rng, config, vocab):
    """Return options that say how tokens are drawn."""
    found = {}
    if rng.random() < 0.4:
        found["report"] = rng.randint(0, config.list_len)
    if rng.random() < 0.5:
        found["temperature"] = rng.choice((
            MIN_TEMPERATURE,
            MAX_TEMPERATURE,
            rng.uniform(0.1, 3.0),
            rng.uniform(0.1, 3.0),
        ))
        found["top_k"] = rng.choice((None, 1, rng.randint(1, config.list_len)))
        found["seed"] = rng.getrandbits(32)
    if rng.random() < 0.3:
        found["eos_token"] = rng.randrange(vocab)
    return found


class _Draw:
    """Requests that share pages and cycles."""

    def __init__(self, rng, config, decoder, context, page_count, max_prefill, budget):
        self.rng, self.config, self.decoder, self.context = rng, config, decoder, context
        self.prefill = max_prefill or config.max_rows
        self.cost, self.budget = Cost(config, decoder), budget
        self.free, self.spent = page_count, 0
        self.requests, self.prefixes = [], set()

    def tokens(self, count):
        """Return random tokens."""
        return tuple(self.rng.randrange(self.decoder.vocab) for _ in range(count))

    def _cycles(self, rows, tokens):
        return self.cost.cycles(rows + tokens - 1, -(-rows // self.prefill) + tokens - 1)

    def add(self, base, longest):
        """Add a request that may begin with ``base``, with ``longest`` tokens more at most.

        Return False if there is no room for it.
        """
        rng, page_len = self.rng, self.config.page_len
        shares = bool(base) and rng.random() < 0.7
        begin = base[: rng.randint(page_len, len(base))] if shares else ()
        most = self.context - len(begin)
        if most < 1:
            return False
        prompt = begin + self.tokens(rng.randint(1, min(most, longest)))
        tokens = rng.randint(1, min(12, longest, self.context - len(prompt) + 1))
        begins = prompt[: len(begin) // page_len * page_len]
        shared = min(len(begins), (len(prompt) - 1) // page_len * page_len)
        new_prefix = bool(begins) and begins not in self.prefixes
        pages = -(-(len(prompt) + tokens - 1) // page_len) - shared // page_len
        cycles = self._cycles(len(prompt) - shared, tokens)
        if new_prefix:
            pages += len(begins) // page_len
            cycles += self._cycles(len(begins), 1)
        if pages > self.free or self.spent + cycles > self.budget:
            return False
        self.free -= pages
        self.spent += cycles
        if begins:
            self.prefixes.add(begins)
        late = rng.random() < 0.4
        self.requests.append(
            Request(
                prompt=prompt,
                max_tokens=tokens,
                arrives=rng.randint(0, 8) if late else 0,
                prefix=len(begin),
                cancel_after=rng.randint(0, tokens) if rng.random() < 0.15 else None,
                **_sampling(rng, self.config, self.decoder.vocab),
            )
        )
        return True


def draw_requests(rng, config, decoder, *, context, page_count, max_prefill, budget):
    """Return (requests, estimated cycles): one request at least.

    Parameters
    ----------
    rng : random.Random
    config : ArchConfig
    decoder : DecoderConfig
    context, page_count, max_prefill : int
        As for `compile_model` and `Session`.
    budget : int
        Cycles that all together may take; the first request is short enough to begin with.
    """
    draw = _Draw(rng, config, decoder, context, page_count, max_prefill, budget)
    base = ()
    if rng.random() < 0.6 and context > config.page_len:
        base = draw.tokens(rng.randint(config.page_len, min(context - 1, 2 * config.page_len + 5)))
    wanted = rng.choice((1, 2, 3, rng.randint(2, _MOST_REQUESTS)))
    for longest in _LONGEST:
        for _ in range(wanted):
            if len(draw.requests) < wanted:
                draw.add(base, longest)
    if not draw.requests:
        draw.requests.append(Request(prompt=draw.tokens(1), max_tokens=1))
        draw.spent = draw.cost.cycles(1, 1)
    return tuple(draw.requests), draw.spent
