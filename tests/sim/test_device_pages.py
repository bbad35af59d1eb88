import random

import pytest

from sim.device.error import DeviceError
from sim.device.pages import PageAllocator

SEED = 3


def test_pages_are_counted_as_a_slow_model_counts_them():
    print(f"seed {SEED}")
    rng = random.Random(SEED)
    pages, users = PageAllocator(10), {}  # page to its users, where there are any
    for _ in range(2000):
        free = [page for page in range(10) if page not in users]
        choice = rng.randrange(3)
        if choice == 0:
            count = rng.randrange(5)
            if count > len(free):
                with pytest.raises(DeviceError, match=f"{count} pages are needed, and {len(free)}"):
                    pages.allocate(count)
            else:
                assert pages.allocate(count) == free[:count]
                users |= dict.fromkeys(free[:count], 1)
        else:
            chosen = rng.sample(sorted(users), rng.randint(0, len(users)))
            (pages.share if choice == 1 else pages.free)(chosen)
            for page in chosen:
                users[page] += 1 if choice == 1 else -1
                if not users[page]:
                    del users[page]
        assert pages.free_count == 10 - len(users)


@pytest.mark.parametrize("call", ["share", "free"])
@pytest.mark.parametrize("page", [-1, 1, 4])
def test_page_must_be_in_use(call, page):
    pages = PageAllocator(4)
    pages.allocate(1)
    with pytest.raises(ValueError, match=f"page {page} is not in use"):
        getattr(pages, call)([0, page])
    assert pages.free_count == 3
