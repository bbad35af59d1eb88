"""Jobs side by side."""

import threading

import pytest

from scripts.synth import mapping


def test_nothing_more_is_begun_when_something_went_wrong():
    jobs, go = [], threading.Event()

    def fails():
        with mapping.workers() as pool:
            jobs.extend(pool.submit(go.wait, 60) for _ in range(mapping.JOBS + 2))
            jobs[-1].add_done_callback(lambda job: go.set())
            raise ValueError("wrong")

    with pytest.raises(ValueError, match="wrong"):
        fails()
    assert all(job.cancelled() for job in jobs[mapping.JOBS :])
