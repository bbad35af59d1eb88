"""Segments of a pass as a bench may have them, and what attention visits for one."""

from hw.spec.formats import BLOCK_LEN

__all__ = ["random_segments", "visited_span"]


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
    }
