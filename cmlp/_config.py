"""What this installation of cmlp is and uses."""

from cmlp import _dispatch, _threads
from cmlp._version import __version__


def show_config() -> None:
    """
    Print the version, the instruction set in use and those that could be, OpenMP and the number of threads.

    The instruction set is the best that the processor runs, unless the environment's ``CMLP_ISA`` names another.
    """
    others = [isa for isa in _dispatch.supported() if isa != _dispatch.ISA]
    print(f"cmlp     {__version__}")
    print(f"isa      {_dispatch.ISA}" + (f" (also here: {', '.join(others)})" if others else ""))
    print(f"openmp   {'yes' if _dispatch.core.has_openmp() else 'no'}")
    print(f"threads  {_threads.get_num_threads()}")
