"""The errors of models that cannot be read or compiled."""

__all__ = ["CheckpointError", "CompileError"]


class CheckpointError(ValueError):
    """A folder that is no checkpoint of a model that Serrano runs."""


class CompileError(ValueError):
    """A model that the configuration, or the format of operator words, cannot hold."""
