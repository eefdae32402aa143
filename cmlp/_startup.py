"""How the command `cmlp` ends while cmlp is still being imported, and nobody is there to catch anything."""

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NoReturn


def _is_command() -> bool:
    """Whether Python was started for `cmlp`, or `python -m cmlp`."""
    program = "".join(sys.argv[:1])  # there is none where Python is part of another program
    if program != "-m":
        return os.path.basename(program) in ("cmlp", "cmlp.exe")
    for number, word in enumerate(sys.orig_argv[1:], 2):
        options, m, module = word.partition("m")  # options may be joined, as in -Im, and the module with them
        if m and options.startswith("-") and not {*options} & {*"cWX"}:
            return (module or "".join(sys.orig_argv[number : number + 1])) == "cmlp"
    return False


COMMAND = _is_command()


def give_up(error: Exception) -> NoReturn:
    """Raise what keeps cmlp from being imported; tell it in a line if Python was started for the command."""
    if COMMAND:
        print(f"cmlp: error: {error}", file=sys.stderr)
        sys.exit(2)
    raise error from None


def _handle(name: str, before: str, after: str | Callable[[int, Any], None]) -> None:
    """Change what a signal does to the command, unless it is ignored, as Ctrl-C in a shell's background."""
    if COMMAND:
        import signal  # takes time, which other programs need not spend

        with suppress(ValueError):  # another thread than the first, of a program that is only called like the command
            number = getattr(signal, name)
            if signal.getsignal(number) == getattr(signal, before):
                signal.signal(number, getattr(signal, after) if isinstance(after, str) else after)


def raise_interrupts() -> None:
    """Let Ctrl-C raise KeyboardInterrupt, once there is somebody to catch it, and SIGTERM leave no file behind."""
    _handle("SIGINT", "SIG_DFL", "default_int_handler")
    _handle("SIGTERM", "SIG_DFL", lambda number, _: sys.exit(128 + number))


# Raised while NumPy is imported, it would show all of that; so the system ends the command, without a word.
_handle("SIGINT", "default_int_handler", "SIG_DFL")
