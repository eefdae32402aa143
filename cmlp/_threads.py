"""How many threads a piece of work is given. Who computes a number never changes it, so this is about time alone."""

import os

from cmlp._dispatch import core

# Multiply-adds that make a second thread worth waking and waiting for.
WORK_PER_THREAD = 200_000


def _available() -> int:
    """Processors that this process may run on."""
    if not core.has_openmp():
        return 1
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


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
    return _judged(given, "CMLP_NUM_THREADS") if given else _available()


_limit = _from_environment()
_forked = False


def _after_fork() -> None:
    # The child of a process that used several threads has none of them, and would wait for ever for those it counts on.
    global _forked
    _forked = True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def set_num_threads(threads: int) -> None:
    """
    Set how many threads training and prediction may use.

    Small work takes fewer. The numbers that come out are the same for every setting.

    Parameters
    ----------
    threads : int
        At least 1. Without OpenMP, and in a forked child, the core runs on one thread whatever is set.

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
        What `set_num_threads` set, else the environment's ``CMLP_NUM_THREADS``, else the processors this process may
        run on. In a forked child it is 1.
    """
    return _limit if core.has_openmp() and not _forked else 1


def threads_for(work: int) -> int:
    """Threads for a step or a pass of so many multiply-adds."""
    return max(1, min(get_num_threads(), work // WORK_PER_THREAD))
