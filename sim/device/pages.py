"""Hands out the pages of the KV region."""

from sim.device.error import DeviceError

__all__ = ["PageAllocator"]


class PageAllocator:
    """Counts the users of every page; a page without any is free.

    Parameters
    ----------
    count : int
        Pages there are: numbers 0 to ``count - 1``.
    """

    def __init__(self, count):
        self._users = [0] * count

    @property
    def free_count(self):
        """Pages that nobody uses."""
        return self._users.count(0)

    def allocate(self, count):
        """Return the numbers of ``count`` free pages, the lowest; each has one user now.

        Raises
        ------
        DeviceError
            Fewer are free; none is taken then.
        """
        if count > self.free_count:
            raise DeviceError(
                f"{count} pages are needed, and {self.free_count} of {len(self._users)} are free"
            )
        pages = [page for page, users in enumerate(self._users) if not users][:count]
        for page in pages:
            self._users[page] = 1
        return pages

    def share(self, pages):
        """Add a user to each of ``pages``; ValueError names one that is free."""
        self._check(pages)
        for page in pages:
            self._users[page] += 1

    def free(self, pages):
        """Take a user from each of ``pages``; ValueError names one that is free already."""
        self._check(pages)
        for page in pages:
            self._users[page] -= 1

    def _check(self, pages):
        for page in pages:
            if not 0 <= page < len(self._users) or not self._users[page]:
                raise ValueError(f"page {page} is not in use")
