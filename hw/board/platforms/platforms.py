"""Platforms by the names of their boards."""

from hw.board.platforms.ulx3s import Ulx3sPlatform
from hw.board.platforms.ulx4m_ls import Ulx4mLsPlatform

__all__ = ["PLATFORMS"]

PLATFORMS = {"ulx3s": Ulx3sPlatform, "ulx4m_ls": Ulx4mLsPlatform}
