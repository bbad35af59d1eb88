"""What an elaboration for an ECP5 knows of its device."""

__all__ = ["Lfe5u85f", "is_ecp5"]


def is_ecp5(platform):
    """Return whether a design is elaborated for an ECP5, whose cells may then be named.

    ``platform`` is what `elaborate` is given: None for portable logic, a board's platform, or
    `Lfe5u85f`.
    """
    return str(getattr(platform, "device", "")).startswith("LFE5U")


class Lfe5u85f:
    """An LFE5U-85F without a board: a platform for synthesis of one unit or of the whole chip.

    Three rows of DSP blocks cross the device, each with 52 multipliers. An array whose multipliers
    have fixed sites is placed in a quarter of the time, and a large one is placed at all. A board's
    platform may have a method of the same name to ask for the same.
    """

    device = "LFE5U-85F"

    #: Y of the rows of DSP blocks. Along each lie groups of four multipliers: X of their starts,
    #: and each multiplier's distance in X and number.
    _STRIPES = (10, 34, 58)
    _GROUPS = (*range(4, 59, 9), *range(69, 115, 9))
    _MEMBERS = ((0, 0), (1, 1), (4, 4), (5, 5))

    def multiplier_site(self, row, column):
        """Return the site of the multiplier of an element, or None where there is none.

        Four rows of an array share a row of DSP blocks, with a group for each column, so that sums
        and activations travel a short way.
        """
        stripe, member = divmod(row, len(self._MEMBERS))
        if stripe >= len(self._STRIPES) or column >= len(self._GROUPS):
            return None
        distance, number = self._MEMBERS[member]
        return f"X{self._GROUPS[column] + distance}/Y{self._STRIPES[stripe]}/MULT18_{number}"
