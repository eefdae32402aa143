"""What a person sees of a fit: a bar on a terminal, if tqdm is there, and a line an epoch elsewhere."""

import sys
from collections.abc import Iterator
from typing import Any

History = dict[str, list[float]]


def _latest(history: History) -> dict[str, str]:
    return {name: f"{values[-1]:.4f}" for name, values in history.items() if name != "seconds"}


def epochs(count: int, verbose: int, history: History) -> Iterator[int]:
    """Numbers 0 .. count - 1; after each, what history has gained is shown."""
    if not verbose:
        yield from range(count)
        return
    bar = _bar(count)
    for epoch in range(count):
        yield epoch
        if bar is None:
            line = "  ".join(f"{name} {value}" for name, value in _latest(history).items())
            print(f"epoch {epoch + 1}/{count}  {line}  {history['seconds'][-1]:.2f} s", flush=True)
        else:
            bar.set_postfix(_latest(history), refresh=False)
            bar.update()
    if bar is not None:
        bar.close()


def _bar(count: int) -> Any:
    if not sys.stderr.isatty():
        return None
    try:
        from tqdm import tqdm
    except ImportError:
        return None
    return tqdm(total=count, unit="epoch")
