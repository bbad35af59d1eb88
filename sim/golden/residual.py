"""The residual stream."""

from hw.spec.formats import RESIDUAL_WIDTH

from .fixed import saturate

__all__ = ["add_residual"]


def add_residual(x, y, on_clip=None):
    """Return x + y, saturated."""
    return saturate(x + y, RESIDUAL_WIDTH, on_clip)
