"""Platforms by the names of their boards."""

from hw.board.platforms.ulx3s import Ulx3sPlatform

__all__ = ["PLATFORMS"]

PLATFORMS = {"ulx3s": Ulx3sPlatform}
