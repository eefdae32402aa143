"""What a fit leaves behind: a number an epoch of everything that was measured."""

from __future__ import annotations

from typing import Any

MOST_MARKED = 50  # epochs of which each has a point in the plot


class History(dict[str, list[float]]):
    """
    Numbers of a training, one for each epoch, or for `partial_fit` one for each chunk.

    The keys: "loss" and "accuracy", means over the samples, each batch's taken before its step, the loss with the
    penalties; "val_loss" and "val_accuracy", of the samples that validate, after the epoch and without penalties;
    "learning_rate", that of the epoch's last step; "seconds" for the steps. Accuracies only with labels, "val_..." only
    with something to validate with. It shows itself by the last ones; ``dict(history)`` shows them all.

    Attributes
    ----------
    stopped : str or None
        Why the training ended before its last epoch; None if it did not.

    Examples
    --------
    >>> from cmlp import History
    >>> history = History(loss=[0.7, 0.4], seconds=[0.1, 0.1])
    >>> min(history["loss"])
    0.4
    >>> history
    <History: epochs 2, loss 0.4, seconds 0.1>
    """

    stopped: str | None = None

    def __repr__(self) -> str:
        epochs = max(map(len, self.values()), default=0)
        last = [f"{name} {values[-1]:.4g}" for name, values in self.items() if values]
        ended = [] if self.stopped is None else [f"stopped: {self.stopped}"]
        return f"<History: {', '.join([f'epochs {epochs}', *last, *ended])}>"

    def add(self, figures: dict[str, float]) -> None:
        """
        Append an epoch's numbers.

        Parameters
        ----------
        figures : dict of str to float
            One for each key.
        """
        for name, value in figures.items():
            self.setdefault(name, []).append(value)

    def to_frame(self) -> Any:
        """
        Return the numbers as a table.

        Returns
        -------
        pandas.DataFrame
            A row for each epoch, counted from 0, and a column for each key.

        Raises
        ------
        ImportError
            If pandas is not installed.
        """
        try:
            import pandas
        except ImportError as error:
            raise ImportError('to_frame needs pandas: pip install "cmlp[cli]"') from error
        return pandas.DataFrame(self).rename_axis("epoch")

    def plot(self, ax: Any = None) -> Any:
        """
        Draw the losses over the epochs, and the accuracies on an axis at the right.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Where to; by default a new figure's.

        Returns
        -------
        matplotlib.axes.Axes
            The axes of the losses.

        Raises
        ------
        ValueError
            If there is nothing to draw yet.
        ImportError
            If matplotlib is not installed.
        """
        if "loss" not in self:
            raise ValueError(f"there is no loss to draw, in a history of {[*self]}: plot the one that fit returns")
        try:
            from matplotlib import pyplot
        except ImportError as error:
            raise ImportError('plot needs matplotlib: pip install "cmlp[plot]"') from error
        if ax is None:
            ax = pyplot.figure(layout="constrained").subplots()
        lines = self._draw(ax, "loss", "C0")
        ax.set_xlabel("epoch")
        ax.set_ylabel("loss (mean of a sample)")
        if "accuracy" in self:
            right = ax.twinx()
            lines += self._draw(right, "accuracy", "C1")
            right.set_ylabel("accuracy (share of right predictions)")
        ax.xaxis.get_major_locator().set_params(integer=True)
        # Above the axes: the second ones would draw over it.
        ax.legend(handles=lines, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=len(lines), frameon=False)
        return ax

    def _draw(self, ax: Any, name: str, color: str) -> list[Any]:
        """The numbers of the training, and those of the validation dashed."""
        styles = {name: "-", f"val_{name}": "--"}
        marker = "." if len(self[name]) <= MOST_MARKED else ""  # many would hide the dashes
        return [
            ax.plot(range(1, len(self[key]) + 1), self[key], style, marker=marker, color=color, label=key)[0]
            for key, style in styles.items()
            if key in self
        ]
