"""Everything that is fixed when the hardware is built."""

from dataclasses import dataclass

from .formats import BLOCK_LEN

__all__ = ["MAX_FETCH", "MAX_LIST_LEN", "ArchConfig"]


#: 32-bit words that the chip fetches at once, at most: a chunk of a prompt, a page table.
MAX_FETCH = 255

#: Candidates that a chip keeps for each row, at most.
MAX_LIST_LEN = 64


def _is_power_of_two(value):
    return value > 0 and value & (value - 1) == 0


@dataclass(frozen=True, kw_only=True)
class ArchConfig:
    """Everything that is fixed when the hardware is built.

    No number of this class changes a result: tokens and logits are the same for all of them.

    Parameters
    ----------
    rows, cols : int
        Height and width of the systolic array, in processing elements. 4, 8, 16 or 32: a tile lies
        inside one block of 32 elements, and a strip of output channels holds whole tiles.
    lanes : int
        Elements per cycle of the vector units. A power of two from 2, at most ``cols`` and 16.
    port_bytes : int
        Width of the memory port, in bytes. A power of two from ``cols`` to 64.
    max_rows : int
        Rows (tokens) of one pass. A power of two up to 128.
    max_dim : int
        Longest residual vector, in elements. A multiple of 32.
    act_blocks : int
        Blocks of 32 elements that the activation memory holds for each row.
    max_context : int
        Positions of one sequence. A multiple of ``page_len``, at most 255 pages.
    page_len : int
        Positions of one page of the KV cache. A power of two, at least 32.
    max_head_dim : int
        Longest attention head, in elements. A multiple of 32.
    max_seqs : int
        Sequences at once: from 1, at most ``max_rows``.
    kv_pages : int
        Pages of the KV region that are told apart. From 2.
    list_len : int
        Candidates kept for each row: a token is drawn from so many of its largest logits at most. A
        power of two from 8 to 64.
    stream_depth : int
        Beats of the weight prefetch FIFO: a power of two.
    tiles : int
        Systolic arrays, each with its own streamer, attention and memory channel: 1, 2 or 4.
    pe_registers : bool
        Whether the arrays have more pipeline registers, for a high clock: `hw.systolic_array`.
    parity : bool
        Whether the memories on the chip carry parity: `hw.parity_guard`.
    """

    rows: int = 16
    cols: int = 16
    lanes: int = 16
    port_bytes: int = 16
    max_rows: int = 64
    max_dim: int = 1024
    act_blocks: int = 128
    max_context: int = 1024
    page_len: int = 64
    max_head_dim: int = 128
    max_seqs: int = 2
    kv_pages: int = 256
    list_len: int = 8
    stream_depth: int = 512
    tiles: int = 1
    pe_registers: bool = False
    parity: bool = False

    def __post_init__(self):
        def check(name, allowed, what):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or not allowed(value):
                raise ValueError(f"{name} must be {what}, not {value!r}")

        check("rows", lambda n: n in (4, 8, 16, 32), "4, 8, 16 or 32")
        check("cols", lambda n: n in (4, 8, 16, 32), "4, 8, 16 or 32")
        check(
            "lanes",
            lambda n: _is_power_of_two(n) and 2 <= n <= min(self.cols, 16),
            f"a power of two from 2 to {min(self.cols, 16)} (cols, and 16 at most)",
        )
        check(
            "port_bytes",
            lambda n: _is_power_of_two(n) and self.cols <= n <= 64,
            f"a power of two from {self.cols} (cols) to 64",
        )
        check(
            "max_rows",
            lambda n: _is_power_of_two(n) and 2 <= n <= MAX_FETCH,
            f"a power of two from 2 to {(MAX_FETCH + 1) // 2}",
        )
        check(
            "page_len",
            lambda n: _is_power_of_two(n) and n >= max(32, self.align_bytes),
            f"a power of two from {max(32, self.align_bytes)}",
        )
        check(
            "list_len",
            lambda n: _is_power_of_two(n) and 8 <= n <= MAX_LIST_LEN,
            f"a power of two from 8 to {MAX_LIST_LEN}",
        )
        check("stream_depth", lambda n: _is_power_of_two(n) and n >= 16, "a power of two from 16")
        check("tiles", lambda n: n in (1, 2, 4), "1, 2 or 4")
        for name in ("pe_registers", "parity"):
            if not isinstance(getattr(self, name), bool):
                raise ValueError(f"{name} must be True or False, not {getattr(self, name)!r}")
        for name in ("max_dim", "max_head_dim"):
            check(name, lambda n: n > 0 and n % BLOCK_LEN == 0, "a positive multiple of 32")
        check("act_blocks", lambda n: n > 0, "positive")
        check("max_seqs", lambda n: 1 <= n <= self.max_rows, f"1 to {self.max_rows} (max_rows)")
        check("kv_pages", lambda n: n >= 2, "2 at least")
        check(
            "max_context",
            lambda n: n > 0 and n % self.page_len == 0,
            f"a positive multiple of page_len ({self.page_len})",
        )
        if self.max_pages > MAX_FETCH:
            raise ValueError(
                f"max_context must be {MAX_FETCH} pages of {self.page_len} positions at most, "
                f"not {self.max_context!r}"
            )

    @property
    def subs(self):
        """Substrips (``cols`` channels) in a strip of 32 output channels."""
        return BLOCK_LEN // self.cols

    @property
    def strip_tiles(self):
        """Tiles that share a strip of a linear operator: its *members*."""
        return min(self.tiles, self.subs)

    @property
    def groups(self):
        """Groups of ``strip_tiles`` tiles, which take strips in turn.

        Tile t is member t mod ``strip_tiles`` of group t // ``strip_tiles``.
        """
        return self.tiles // self.strip_tiles

    @property
    def own_subs(self):
        """Substrips of a linear operator's strip that a member computes; they are adjacent."""
        return self.subs // self.strip_tiles

    @property
    def own_beats(self):
        """Beats of ``lanes`` elements in a member's part of a strip."""
        return self.beats // self.strip_tiles

    @property
    def tiles_per_block(self):
        """Weight tiles along the reduction in one block of 32 elements."""
        return BLOCK_LEN // self.rows

    @property
    def feed_len(self):
        """Elements in a word of what is fed to P.V: a *part* of a block of 32."""
        return max(self.rows, self.cols)

    @property
    def feed_parts(self):
        """Parts of a block that are fed to P.V."""
        return BLOCK_LEN // self.feed_len

    @property
    def beats(self):
        """Beats of ``lanes`` elements in one block of 32."""
        return BLOCK_LEN // self.lanes

    @property
    def entry_bytes(self):
        """Bytes of one table entry: ``lanes`` 16-bit numbers."""
        return 2 * self.lanes

    @property
    def align_bytes(self):
        """Alignment of every address that the weight streamer is given, in bytes."""
        return max(self.port_bytes, self.cols, self.entry_bytes)

    @property
    def max_pages(self):
        """Pages of one sequence."""
        return self.max_context // self.page_len
