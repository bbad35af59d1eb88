"""The error of a model that cannot be compiled."""

__all__ = ["CompileError"]


class CompileError(ValueError):
    """A model that the configuration, or the format of operator words, cannot hold."""
