"""What a family of models knows of its files."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

__all__ = ["Family", "Source"]


@dataclass(frozen=True)
class Source:
    """Where a file has a tensor of a decoder.

    Parameters
    ----------
    name : str
        Of the file's tensor.
    shape : tuple of int
        Of the file's tensor.
    take : function
        From the file's tensor to the decoder's.
    """

    name: str
    shape: tuple
    take: Callable[[np.ndarray], np.ndarray] = lambda stored: stored


@dataclass(frozen=True, kw_only=True)
class Family:
    """How to read the models of one architecture.

    Parameters
    ----------
    model_type : str
        As ``config.json`` says it.
    read_config : function
        From `Options` to `DecoderConfig`; ValueError for an option that cannot be run.
    sources : function
        From `DecoderConfig` to the `Source` of each of its tensors, by name.
    prefix : str
        What the names of tensors may begin with, or not.
    ignored : tuple of str
        Ends of the names of tensors that may be there and are not needed.
    """

    model_type: str
    read_config: Callable
    sources: Callable
    prefix: str = ""
    ignored: tuple = ()
