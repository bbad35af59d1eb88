"""Requests as a host makes them: what is checked before the chip sees them."""

from dataclasses import asdict, dataclass

from sim.golden.sampling import sampling_of

__all__ = [
    "DEFAULTS",
    "NO_EOS",
    "Placed",
    "Prefix",
    "check_request",
    "place_request",
    "sampling_fields",
]

NO_EOS = 0xFFFFFFFF  #: ``eos_token`` that no token equals

#: Fields of a request for one token, the likeliest: all but its id, its prompt and its pages.
DEFAULTS = {
    "max_tokens": 1,
    "eos_token": NO_EOS,
    "start_pos": 0,
    "shared_pages": 0,
    "top_k": 1,
    "report_count": 0,
    "multiplier": 0,
    "shift": 0,
    "seed": 0,
    "candidates_addr": 0,
}


@dataclass(frozen=True)
class Prefix:
    """Tokens whose keys and values request ``request_id`` left in whole pages, to be shared."""

    tokens: tuple
    pages: tuple
    request_id: int


@dataclass(frozen=True)
class Placed:
    """What of a request is to be computed, and where.

    Members
    -------
    prompt : sequence of int
        Tokens to be computed.
    start_pos : int
        Position of the first of them.
    shared : tuple of int
        Pages of a prefix that are shared.
    shared_pages : int
        How many of the first pages are only read.
    own_count : int
        Pages that are needed behind those of ``shared``.
    """

    prompt: tuple
    start_pos: int
    shared: tuple
    shared_pages: int
    own_count: int


def sampling_fields(config, *, temperature=0.0, top_k=None, seed=0, report=0):
    """Return the fields of a request that say how its tokens are drawn. For a chip of ``config``.

    Parameters and errors as for `sampling_of`, and ``report``, the candidates to report.
    """
    most = config.list_len
    if not 0 <= report <= most:
        raise ValueError(f"report must be 0 to {most} (what the chip keeps), not {report!r}")
    sampling = sampling_of(temperature=temperature, top_k=top_k, seed=seed, most=most)
    return asdict(sampling) | {"report_count": report}


def check_request(prompt, max_tokens, *, vocab, context, start_pos=0):
    """Refuse a request that a chip could not run to its end.

    Parameters
    ----------
    prompt : sequence of int
        Tokens, at positions from ``start_pos`` on.
    max_tokens : int
        Tokens to write at most.
    vocab, context : int
        Tokens and positions of the model.

    Raises
    ------
    ValueError
        An empty prompt, a token outside the vocabulary, no tokens to write, or more positions than
        the context has. It says what is allowed.
    """
    if not len(prompt):
        raise ValueError("the prompt must have at least one token")
    for index, token in enumerate(prompt):
        if not 0 <= token < vocab:
            raise ValueError(
                f"token {index} of the prompt must be 0 to {vocab - 1} (the vocabulary), "
                f"not {token}"
            )
    if max_tokens < 1:
        raise ValueError(f"the number of tokens to write must be at least 1, not {max_tokens}")
    room = context - start_pos
    if len(prompt) > room:
        raise ValueError(
            f"the prompt has {len(prompt)} tokens, and the context has room for {max(room, 0)}"
        )
    # The last token written is never fed back.
    most = room - len(prompt) + 1
    if max_tokens > most:
        raise ValueError(
            f"the number of tokens to write must be at most {most} after a prompt of "
            f"{len(prompt)} tokens (the context has {context} positions), not {max_tokens}"
        )


def place_request(
    compiled, prompt, max_tokens, *, pages=None, start_pos=0, shared_pages=0, prefix=None
):
    """Return where a request begins, as `Placed`. Parameters as for `Device.submit`.

    Raises
    ------
    ValueError
        See `check_request`; also too few pages, or a prompt that does not begin with its prefix.
    """
    page_len = compiled.config.page_len
    if (start_pos or shared_pages) and (pages is None or prefix is not None):
        raise ValueError("start_pos and shared_pages must come with pages, and without a prefix")
    if pages is not None and prefix is not None:
        raise ValueError("pages must not come with a prefix, which has its own")
    if start_pos < 0:
        raise ValueError(f"start_pos must not be negative, not {start_pos}")
    check_request(
        prompt,
        max_tokens,
        vocab=compiled.shape.vocab,
        context=compiled.memory_map.context,
        start_pos=start_pos,
    )
    if not 0 <= shared_pages <= start_pos // page_len:
        raise ValueError(
            f"shared_pages must be 0 to {start_pos // page_len} (those before start_pos), "
            f"not {shared_pages}"
        )
    shared = ()
    if prefix is not None:
        # The last token is always computed: it gives the first one written.
        shared = prefix.pages[: (len(prompt) - 1) // page_len]
        shared_pages = len(shared)
        start_pos = shared_pages * page_len
        if tuple(prompt[:start_pos]) != prefix.tokens[:start_pos]:
            raise ValueError("the prompt must begin with the tokens of its prefix")
        prompt = prompt[start_pos:]
    needed = -(-(start_pos + len(prompt) + max_tokens - 1) // page_len)
    if pages is not None and needed > len(pages):
        raise ValueError(
            f"the request needs {needed} pages of {page_len} positions, and {len(pages)} were given"
        )
    return Placed(tuple(prompt), start_pos, shared, shared_pages, needed - len(shared))
