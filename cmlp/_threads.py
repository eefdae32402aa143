"""How many threads a piece of work is given. Who computes a number never changes it, so this is about time alone."""

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from cmlp._dispatch import core
from cmlp._startup import give_up


def _read(path: str) -> str:
    """The text of a file of the system's; none if there is no such file."""
    try:
        with open(path, errors="surrogateescape") as file:  # names may hold any bytes
            return file.read()
    except OSError:
        return ""


def _quota() -> float:
    """Processors' worth of time that the groups this process is in are granted, at least; infinity if all of it."""
    least, seen = math.inf, set()
    lines = (line.split(":", 2) for line in ["0::/", "0:cpu:/", *_read("/proc/self/cgroup").split("\n")])
    for _, controllers, group in (line for line in lines if len(line) == 3):
        folder, files = "/sys/fs/cgroup", ["cpu.max"]  # of version 2
        if controllers:
            folder, files = "/sys/fs/cgroup/cpu", ["cpu.cfs_quota_us", "cpu.cfs_period_us"]
        if controllers and "cpu" not in controllers.split(","):
            continue
        names = group.split("/")[1:] if group != "/" else []
        for depth in range(len(names) + 1):  # the outermost is where a container's own group may be
            path = "/".join([folder, *names[:depth]])
            paths = tuple(f"{path}/{name}" for name in files)
            if paths in seen:
                continue
            seen.add(paths)
            words = " ".join(map(_read, paths)).split()
            if len(words) == 2 and words[0].isdecimal():
                least = min(least, int(words[0]) / int(words[1]))
    return least


def _available() -> int:
    """Processors that this process may use."""
    if not core.has_threads():
        return 1
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(processors, math.ceil(min(_quota(), processors)), core.openmp_limit()))


def _judged(threads: object, name: str) -> int:
    try:
        number = int(str(threads))
    except ValueError:
        number = 0
    if number < 1:
        raise ValueError(f"{name} must be a whole number of at least 1, got {threads!r}")
    return number


def _from_environment() -> int:
    given = os.environ.get("CMLP_NUM_THREADS")
    try:
        return _judged(given, "CMLP_NUM_THREADS") if given else _available()
    except ValueError as error:
        give_up(error)


_limit = _from_environment()
_here = ContextVar[int | None]("_here", default=None)  # the limit inside `limited`, which other threads do not see
_openmp_limit = core.openmp_limit()  # as it was: a lower one later is threadpoolctl's

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=core.forget_threads)


def set_num_threads(threads: int) -> None:
    """
    Set how many threads training and prediction may use.

    Small work takes fewer. The numbers that come out are the same for every setting.

    Parameters
    ----------
    threads : int
        At least 1. A core without threads, as on Windows, runs on one whatever is set.

    Raises
    ------
    ValueError
        If `threads` is not a whole number of at least 1.
    """
    global _limit
    _limit = _judged(threads, "threads")


def get_num_threads() -> int:
    """
    Return how many threads training and prediction may use.

    Returns
    -------
    int
        What `set_num_threads` set, else the environment's ``CMLP_NUM_THREADS``, else the processors that the process's
        affinity, its group's quota and ``OMP_NUM_THREADS`` allowed when cmlp was imported. Not more than threadpoolctl
        allows at the moment.
    """
    if not core.has_threads():
        return 1
    here, limit = _here.get() or _limit, core.openmp_limit()
    return min(here, limit) if limit < _openmp_limit else here


@contextmanager
def limited(n_jobs: int | None) -> Iterator[None]:
    """Let calls from this thread use so many, as joblib counts: -1 for all processors, -2 for all but one."""
    here = n_jobs if n_jobs is None or n_jobs > 0 else max(1, _available() + 1 + n_jobs)
    token = _here.set(here)
    try:
        yield
    finally:
        _here.reset(token)


def threads_for(paying: int) -> int:
    """Threads for work that the core says pays so many."""
    return max(1, min(get_num_threads(), paying))


def most(paying: int) -> int:
    """Threads that such work may be given later, whatever the limit is now."""
    return max(1, min(max(get_num_threads(), os.cpu_count() or 1), paying))
