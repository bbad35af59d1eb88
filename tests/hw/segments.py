"""Segments of a pass as a bench may have them, and what attention does with them."""

from hw.attention_order import Phase
from hw.spec.formats import BLOCK_LEN

__all__ = ["attention_steps", "random_segments", "visited_span"]


def random_segments(rng, config, rows=None):
    """Return segments, as dicts of `hw.jobs.segment_layout`, that follow each other in a pass.

    Parameters
    ----------
    rng : random.Random
    config : ArchConfig
    rows : list of int
        Rows of each; by default as many segments and rows as chance says.
    """
    if rows is None:
        count = rng.randrange(1, config.max_seqs + 1)
        # Some rows may be left over.
        cuts = sorted(rng.sample(range(1, config.max_rows + 1), count))
        rows = [cut - before for before, cut in zip([0, *cuts], cuts, strict=False)]
    slots = rng.sample(range(config.max_seqs), len(rows))
    row0, segments = 0, []
    for slot, count in zip(slots, rows, strict=True):
        last = config.max_context - count
        segments.append({
            "slot": slot,
            "row0": row0,
            "rows": count,
            "first_pos": rng.choice((0, min(31, last), last, rng.randrange(last + 1))),
            "emit": rng.randrange(2),
        })
        row0 += count
    return segments


def visited_span(config, segment, *, window, group):
    """Return the outputs of `hw.visible_span`, the slow way."""
    chunk = _chunk_heads(config, segment, group) * segment["rows"]
    rows = range(segment["first_pos"], segment["first_pos"] + segment["rows"])
    window = min(window or config.max_context, config.max_context)
    seen = {pos // BLOCK_LEN for row in rows for pos in range(max(0, row - window + 1), row + 1)}
    step = max(1, config.align_bytes // BLOCK_LEN)
    first = min(seen) // step * step
    return {
        "pos_blocks": max(seen) + 1,
        "first_block": first,
        "visited_blocks": max(seen) + 1 - first,
        "visited_pos": segment["first_pos"] - first * BLOCK_LEN,
        "seen": window,
        "together": int(group * len(rows) <= config.max_rows),
        "halved": int(chunk <= config.max_rows // 2),
    }


def _chunk_heads(config, segment, group):
    """Return how many query heads go through attention together."""
    return group if group * segment["rows"] <= config.max_rows else 1


def attention_steps(config, segments, word, *, tile=0):
    """Return the steps of a tile's attention operator as nested loops: a list of (phase, item).

    An item is a dict: ``segment``, ``span`` (see `visited_span`), ``heads``, ``head``: KV head
    among those of the tile, ``query_block``, ``halved``.
    """
    items = []
    for segment in segments:
        span = visited_span(config, segment, window=word["window"], group=word["group"])
        heads = _chunk_heads(config, segment, word["group"])
        for number, head in enumerate(range(tile, word["kv_heads"], config.tiles)):
            query = head * word["group"] * word["head_blocks"]
            for chunk in range(word["group"] // heads):
                items.append({
                    "segment": segment,
                    "span": span,
                    "heads": heads,
                    "head": number,
                    "chunk": chunk,
                    "query_block": query,
                    "halved": span["halved"],
                })
                query += heads * word["head_blocks"]
    steps, before = [], None
    for item in items:
        beside = before is not None and before["halved"] and item["halved"]
        if before is not None and not beside:
            steps.append((Phase.VALUES, before))
        if item["chunk"] == 0:
            steps.append((Phase.EXPONENTS, item))
        steps.append((Phase.KEYS, item))
        if beside:
            steps.append((Phase.VALUES, before))
        before = item
    return [*steps, (Phase.VALUES, before)]
