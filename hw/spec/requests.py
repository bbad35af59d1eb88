"""What host and chip write into memory for each other: requests, and what became of them."""

from dataclasses import dataclass
from struct import iter_unpack

__all__ = [
    "CANDIDATE_BYTES",
    "EVENT",
    "EVENT_BYTES",
    "EVENT_KINDS",
    "NO_CANDIDATE",
    "REQUEST",
    "REQUEST_BYTES",
    "Event",
    "decode_candidates",
    "decode_event",
    "encode_request",
]

REQUEST_BYTES = 64
EVENT_BYTES = 32
CANDIDATE_BYTES = 8  #: a token (32 bits, unsigned), then its logit (32 bits, signed)

NO_CANDIDATE = 0xFFFFFFFF  #: a candidate's token where there are fewer; its logit is 0

#: Fields of a request from bit 0 upwards, as (name, width in bits); spares, and what is left of its
#: 64 bytes, are zero.
#:
#: ``request_id``: the host's name for it, in every event. ``prompt_addr``, ``prompt_len``: 32-bit
#: tokens, one at least. ``max_tokens``: tokens to write at most, one at least. ``eos_token``: ends
#: the sequence, or 0xFFFFFFFF. ``start_pos``: position of the first prompt token: 0, or what the
#: pages hold already. ``page_table_addr``, ``page_count``: 32-bit numbers of pages of the KV
#: region. ``shared_pages``: so many of the first are only read, and other requests may share them.
#:
#: ``top_k``: a token is drawn from so many of the largest logits, 1 to `ArchConfig.list_len`; with
#: 1 it is that of the largest, and ``multiplier``, ``shift`` and ``seed`` mean nothing.
#: ``multiplier``, ``shift`` (below 32): the temperature's, by
#: `sim.golden.sampler.temperature_scale`. ``report_count``: so many of the largest logits, up to
#: `ArchConfig.list_len`, are written from ``candidates_addr`` on (a multiple of `CANDIDATE_BYTES`,
#: or anything if they are none), the largest first, before the event of each token. Those of the
#: next token overwrite them. They may lie anywhere in the host region: the chip does not refuse
#: what overwrites a ring or another request's lists there.
REQUEST = (
    ("request_id", 32),
    ("prompt_addr", 32),
    ("prompt_len", 32),
    ("max_tokens", 32),
    ("eos_token", 32),
    ("start_pos", 32),
    ("page_table_addr", 32),
    ("page_count", 16),
    ("shared_pages", 16),
    ("top_k", 8),
    ("report_count", 8),
    ("multiplier", 16),
    ("shift", 8),
    ("spare", 24),
    ("seed", 32),
    ("candidates_addr", 32),
)

#: Fields of an event. ``position``: of the token, had it been fed. ``cause``: of `csr.ERRORS`.
#: ``detail``: the address or number that the error is about. ``cycle``: when it was written.
EVENT = (
    ("request_id", 32),
    ("token", 32),
    ("position", 32),
    ("kind", 8),
    ("cause", 8),
    ("spare", 16),
    ("cycle", 64),
    ("detail", 32),
    ("spare_more", 32),
)

#: What an event says; all but ``token`` are a request's last.
EVENT_KINDS = {
    "token": 0,  # a token, and more will come
    "end": 1,  # the last token: `eos_token`, or the limit is reached
    "failed": 2,  # an error, no token
    "cancelled": 3,  # withdrawn by the host, no token
}


@dataclass(frozen=True)
class Event:
    """What the chip says of a request; fields as `EVENT`, ``kind`` by name."""

    request_id: int
    token: int
    position: int
    kind: str
    cause: int
    cycle: int
    detail: int


def encode_request(**values):
    """Return a request as `REQUEST_BYTES` bytes.

    Raises
    ------
    ValueError
        A field that is unknown, or missing, or does not hold its value.
    """
    names = [name for name, _ in REQUEST if not name.startswith("spare")]
    for name in (*values, *names):
        if name not in names or name not in values:
            raise ValueError(f"a request must have the fields {', '.join(names)}: {name}")
    word, offset = 0, 0
    for name, width in REQUEST:
        value = int(values.get(name, 0))
        if not 0 <= value < 1 << width:
            raise ValueError(f"{name} must be 0 to {(1 << width) - 1}, not {value}")
        word |= value << offset
        offset += width
    return word.to_bytes(REQUEST_BYTES, "little")


def decode_event(raw):
    """Return the `Event` of `EVENT_BYTES` bytes.

    Raises
    ------
    ValueError
        A kind that there is not.
    """
    bits, values = int.from_bytes(raw, "little"), {}
    for name, width in EVENT:
        values[name] = bits & (1 << width) - 1
        bits >>= width
    kinds = {code: name for name, code in EVENT_KINDS.items()}
    if values["kind"] not in kinds:
        raise ValueError(f"the kind of an event must be 0 to {max(kinds)}, not {values['kind']}")
    values["kind"] = kinds[values["kind"]]
    return Event(**{name: values[name] for name in Event.__dataclass_fields__})


def decode_candidates(raw):
    """Return a list of (token, logit) from the bytes of candidates, as far as there are any."""
    return [pair for pair in iter_unpack("<Ii", raw) if pair[0] != NO_CANDIDATE]
