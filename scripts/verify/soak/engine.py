"""Runs cases on the workers of Dask until time is over: none is lost, whatever dies."""

import logging
import multiprocessing
import sys
import time
from concurrent.futures import CancelledError, ProcessPoolExecutor
from contextlib import contextmanager

from scripts.synth.design import ROOT
from scripts.verify.soak.case import CASES
from scripts.verify.soak.outcome import Outcome
from sim.verilate import BuildError

__all__ = ["CHIPS", "CLUSTERS", "case_seeds", "connect", "run_alone", "soak"]

CHIPS = 100  #: of a session: its seed times this is that of its first chip
CLUSTERS = ("slurm", "lsf")

_CHECK_SECONDS = 120  # between looks at whether workers are left
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

    On a cluster the first of them is waited for, however long.

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
        "distributed.scheduler.allowed-failures": 0,  # `soak` looks after them
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
        if cluster is not None:
            client.wait_for_workers(1)  # jobs may be queued for long
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


def soak(client, run, seeds, *, seconds, width, note, clock=time.monotonic, alone=None):
    """Run cases until the time is over, and those that have begun to their end.

    When a worker dies, the cases that it had are suspects. They run again in the end, one by one,
    each in a process of its own here: what then brings it down is a failure. So they do if no
    worker is left.

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
    alone : callable
        Called with ``run`` and a suspect; by default `run_alone`.

    Raises
    ------
    sim.verilate.BuildError
        A worker has no simulator.
    """
    from distributed import KilledWorker, wait

    seeds, suspects = iter(seeds), []
    end, waiting, deserted = clock() + seconds, {}, 0

    def begin(seed):
        waiting[client.submit(run, seed, pure=False)] = seed

    for _, seed in zip(range(width), seeds, strict=False):
        begin(seed)
    while waiting:
        try:
            wait(list(waiting), timeout=_CHECK_SECONDS, return_when="FIRST_COMPLETED")
        except TimeoutError:
            deserted = 0 if client.nthreads() else deserted + 1
            if deserted > 1:
                suspects += waiting.values()
                break
        except Exception:
            deserted = 0  # that of a case, which says so itself
        for future in [one for one in waiting if one.status != "pending"]:
            seed = waiting.pop(future)
            try:
                outcome = future.result(timeout=_CHECK_SECONDS)
            except (KilledWorker, CancelledError, TimeoutError):
                suspects.append(seed)  # also if its result died with the worker
            except Exception as error:
                note(_failed(seed, error))
            else:
                note(outcome)
            seed = next(seeds, None) if clock() < end else None
            if seed is not None:
                begin(seed)
    for seed in suspects:
        note((alone or run_alone)(run, seed))


def run_alone(run, seed):
    """Run a case in a process of its own; return its `Outcome`, also if the process dies."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        try:
            return pool.submit(run, seed).result()
        except Exception as error:
            return _failed(seed, error)


def _failed(seed, error):
    """Return the `Outcome` of a case that ended by an exception."""
    if isinstance(error, BuildError):
        raise error
    return Outcome(seed=seed, ok=False, message=f"{type(error).__name__}: {error}")
