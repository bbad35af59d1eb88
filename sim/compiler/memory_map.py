"""Where image, KV cache and host data lie in the chip's memory."""

from dataclasses import dataclass

from hw.spec.config import MAX_LIST_LEN
from hw.spec.requests import CANDIDATE_BYTES, EVENT_BYTES, REQUEST_BYTES
from sim.compiler.error import CompileError

__all__ = [
    "ALIGN_BYTES",
    "EVENTS",
    "REGION_BYTES",
    "REQUESTS",
    "TOKEN_BYTES",
    "MemoryMap",
    "round_up",
]

ALIGN_BYTES = 64  #: of every piece: a multiple of every configuration's ``align_bytes``
REGION_BYTES = 4096  #: regions and pages start at multiples of this; no AXI burst crosses one
TOKEN_BYTES = 4  #: a prompt's token, and a page table's entry
REQUESTS = 32  #: entries of the ring of requests, and requests that may be outstanding
EVENTS = 256  #: entries of the ring of events
ADDRESS_LIMIT = 1 << 32


def round_up(value, multiple):
    """Return the smallest multiple of ``multiple`` that is at least ``value``."""
    return -(-value // multiple) * multiple


@dataclass(frozen=True, kw_only=True)
class MemoryMap:
    """Addresses of the three regions: image, KV cache, host. All in bytes.

    Addresses are the same on all memory channels. To the host the channels are one memory, and lie
    in it one after the other; so they do for the chip if ``channel_bytes`` is its channel_stride.

    The host region holds the rings of requests and of events, then for each of `REQUESTS` places a
    prompt, a page table, and candidates; it is on channel 0, where the program and all tables are.

    Parameters
    ----------
    image_base, image_bytes : int
        Region of program, tables and weights. The program is its first piece.
    page_bytes : int
        Distance between two pages of the KV cache.
    page_count : int
        Pages of the KV region.
    sequence_pages : int
        Pages of one sequence: what its page table has room for.
    context : int
        Positions of one sequence: what its prompt has room for.
    vocab : int
        Tokens of a prompt are below this.
    channels : int
        Memory channels: one for each tile.
    """

    image_base: int
    image_bytes: int
    page_bytes: int
    page_count: int
    sequence_pages: int
    context: int
    vocab: int
    channels: int = 1

    def __post_init__(self):
        if self.image_base % REGION_BYTES:
            raise CompileError(
                f"image_base must be a multiple of {REGION_BYTES}, not {self.image_base:#x}"
            )
        if self.host_limit > ADDRESS_LIMIT:
            raise CompileError(
                f"memory must end at {ADDRESS_LIMIT:#x} (32-bit addresses) at most, "
                f"not {self.host_limit:#x}: image {self.image_bytes} bytes, "
                f"{self.page_count} pages of {self.page_bytes} bytes"
            )

    @property
    def program_addr(self):
        """Address of the first operator word."""
        return self.image_base

    @property
    def image_limit(self):
        """First byte after the image region."""
        return self.image_base + round_up(self.image_bytes, REGION_BYTES)

    @property
    def kv_base(self):
        """First byte of the KV region."""
        return self.image_limit

    @property
    def kv_limit(self):
        """First byte after the KV region."""
        return self.kv_base + self.page_count * self.page_bytes

    @property
    def host_base(self):
        """First byte of the host region."""
        return self.kv_limit

    @property
    def request_ring_addr(self):
        """Address of the ring of requests."""
        return self.host_base

    @property
    def event_ring_addr(self):
        """Address of the ring of events."""
        return self.request_ring_addr + REQUESTS * REQUEST_BYTES

    @property
    def _places_addr(self):
        return self.event_ring_addr + EVENTS * EVENT_BYTES

    @property
    def _prompt_bytes(self):
        return round_up(self.context * TOKEN_BYTES, ALIGN_BYTES)

    @property
    def _table_bytes(self):
        return round_up(self.sequence_pages * TOKEN_BYTES, ALIGN_BYTES)

    @property
    def _place_bytes(self):
        return self._prompt_bytes + self._table_bytes + MAX_LIST_LEN * CANDIDATE_BYTES

    def prompt_addr(self, place):
        """Return the address of a place's prompt, which has room for ``context`` tokens."""
        if not 0 <= place < REQUESTS:
            raise ValueError(f"place must be 0 to {REQUESTS - 1}, not {place!r}")
        return self._places_addr + place * self._place_bytes

    def page_table_addr(self, place):
        """Return the address of a place's page table of ``sequence_pages`` entries."""
        return self.prompt_addr(place) + self._prompt_bytes

    def candidates_addr(self, place):
        """Return the address of a place's candidates: room for as many as any chip keeps."""
        return self.page_table_addr(place) + self._table_bytes

    @property
    def host_limit(self):
        """First byte after the host region, and after a channel."""
        return round_up(self._places_addr + REQUESTS * self._place_bytes, REGION_BYTES)

    @property
    def channel_bytes(self):
        """Bytes of a channel."""
        return self.host_limit - self.image_base

    @property
    def size_bytes(self):
        """Bytes of the whole memory, all channels: the size of the file."""
        return self.channels * self.channel_bytes

    def page_addr(self, page):
        """Return the address of page ``page`` of the KV region."""
        if not 0 <= page < self.page_count:
            raise ValueError(f"page must be 0 to {self.page_count - 1}, not {page!r}")
        return self.kv_base + page * self.page_bytes

    def offset(self, addr, channel=0):
        """Return where an address of a channel lies in the file."""
        return channel * self.channel_bytes + addr - self.image_base

    def registers(self, *, one_memory=False):
        """Return the values of the registers that describe this map, by name.

        ``one_memory``: there is one memory behind all channels of the chip, not one behind each.
        """
        names = (
            "program_addr", "image_base", "image_limit", "kv_base", "kv_limit", "host_base",
            "host_limit", "request_ring_addr", "event_ring_addr", "page_bytes", "vocab", "context",
        )  # fmt: skip
        return {name: getattr(self, name) for name in names} | {
            "request_ring_len": REQUESTS,
            "event_ring_len": EVENTS,
            "kv_pages": self.page_count,
            "channel_stride": self.channel_bytes if one_memory else 0,
        }
