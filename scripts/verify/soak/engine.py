"""Runs cases on the workers of Dask until time is over: none is lost, whatever dies."""

import logging
import sys
import time
from contextlib import contextmanager

from scripts.synth.design import ROOT
from scripts.verify.soak.case import CASES
from scripts.verify.soak.outcome import Outcome
from sim.verilate import BuildError

__all__ = ["CHIPS", "CLUSTERS", "DEATHS", "case_seeds", "connect", "soak"]

CHIPS = 100  #: of a session: its seed times this is that of its first chip
CLUSTERS = ("slurm", "lsf")
DEATHS = 1  #: of workers that a case survives at a time, its own or another's

_PATIENCE = "20 minutes"
_TURN = 25  # cases of a chip before it is another one's turn


def case_seeds(session, width):
    """Yield the seeds of a session's cases, ``width`` chips at a time, so that builds are shared.

    All `CHIPS` chips have their turn, then they begin again with other cases.
    """
    for turn in range(CASES // _TURN):
        for first in range(0, CHIPS, width):
            for case in range(turn * _TURN, (turn + 1) * _TURN):
                for chip in range(first, min(first + width, CHIPS)):
                    yield (session * CHIPS + chip) * CASES + case


@contextmanager
def connect(workers, cluster=None):
    """Give a Dask client with so many workers: processes, or jobs of a cluster's queue.

    Parameters
    ----------
    workers : int
    cluster : str
        One of `CLUSTERS`; by default processes of this machine. The rest of what a queue wants to
        know (project, queue, wall time) is in Dask's own configuration, ``jobqueue.yaml``.

    Raises
    ------
    ValueError
        dask-jobqueue is missing.
    """
    import dask
    from distributed import Client, LocalCluster

    dask.config.set({
        "distributed.scheduler.allowed-failures": DEATHS,
        # Workers that wait for a processor are not dead: simulators take all there are.
        "distributed.comm.timeouts.connect": _PATIENCE,
        "distributed.comm.timeouts.tcp": _PATIENCE,
        "distributed.scheduler.worker-ttl": None,
    })
    if cluster is None:
        opened = LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            processes=True,
            host="127.0.0.1",
            dashboard_address=None,
            memory_limit=0,
            silence_logs=logging.CRITICAL,
        )
    else:
        opened = _queue(cluster, workers)
    with opened, Client(opened) as client:
        yield client


def _queue(cluster, workers):
    try:
        import dask_jobqueue
    except ImportError:
        raise ValueError(
            f"--cluster {cluster} must have dask-jobqueue: .venv/bin/pip install '.[cluster]'"
        ) from None
    kind = {"slurm": dask_jobqueue.SLURMCluster, "lsf": dask_jobqueue.LSFCluster}[cluster]
    opened = kind(
        cores=2,  # a simulator, and the compilers of the next
        processes=1,
        memory="4GB",
        python=sys.executable,
        job_script_prologue=[f"cd {ROOT}", f"export PYTHONPATH={ROOT}"],
    )
    opened.scale(jobs=workers)
    return opened


def soak(client, run, seeds, *, seconds, width, note, clock=time.monotonic):
    """Run cases until the time is over, and those that have begun to their end.

    When a worker dies, all cases that it had are suspects once it was more than `DEATHS` of them.
    They run again in the end, one by one: what then brings workers down is a failure.

    Parameters
    ----------
    client : distributed.Client
    run : callable
        Called with a seed, on a worker; returns an `Outcome`.
    seeds : iterable of int
        In this order. The first ``width`` are run however short the time is.
    seconds : float
        After which no case begins.
    width : int
        Cases at a time.
    note : callable
        Called here with each `Outcome`.

    Raises
    ------
    sim.verilate.BuildError
        A worker has no simulator.
    """
    from distributed import KilledWorker, as_completed

    seeds, suspects = iter(seeds), []
    end = clock() + seconds
    running = as_completed()
    waiting = {}

    def begin(seed):
        future = client.submit(run, seed, pure=False)
        waiting[future] = seed
        running.add(future)

    for _, seed in zip(range(width), seeds, strict=False):
        begin(seed)
    for future in running:
        seed = waiting.pop(future)
        if future.status in ("cancelled", "lost"):
            begin(seed)  # the scheduler forgot it
            continue
        if isinstance(future.exception(), KilledWorker):
            suspects.append(seed)
        else:
            note(_outcome(future, seed))
        if clock() < end:
            seed = next(seeds, None)
            if seed is not None:
                begin(seed)
    for seed in suspects:
        note(_outcome(client.submit(run, seed, pure=False), seed))


def _outcome(future, seed):
    """Return the `Outcome` of a case, also of one that brought its workers down."""
    error = future.exception()
    if error is None:
        return future.result()
    if isinstance(error, BuildError):
        raise error
    return Outcome(seed=seed, ok=False, message=f"{type(error).__name__}: {error}")
