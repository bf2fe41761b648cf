"""What a run says while it runs: a progress bar in a terminal, a line now and then elsewhere."""

from __future__ import annotations

import math
import sys
import time
import warnings
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from frugal_theory.config.one_line import printable

__all__ = ["Progress"]

Line = dict[str, Any]

PAUSE = 10.0
"""Seconds between two lines when the output is not a terminal."""

SMOOTHING = 0.95
"""The loss shown is an exponential average of the steps' losses with this weight on the past."""


class Progress:
    """Shows loss, perplexity, tokens a second and the time left. ``console = None`` says nothing."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console
        self._bar: Bar | None = None
        self._loss = self._rate = math.nan
        self._validation = ""
        self._last: Line = {"tokens": 0, "seconds": 0.0}
        self._printed = time.monotonic()

    def start(self, description: str, steps: int, done: int, tokens: int, seconds: float) -> None:
        """Before the first step of this process: ``done`` steps, ``tokens`` and ``seconds`` are behind the run."""
        self._last = {"tokens": tokens, "seconds": seconds}
        self._steps = steps
        if self.console is None:
            return
        self.console.print(description, highlight=False, soft_wrap=True)
        if self.console.is_terminal:
            columns = [
                TextColumn("step"),
                MofNCompleteColumn(),
                BarColumn(),
                TextColumn("{task.description}"),
                TimeRemainingColumn(),
            ]
            self._bar = Bar(*columns, console=self.console, transient=True)
            self._bar.start()
            self._task = self._bar.add_task("", total=steps, completed=done)

    def step(self, line: Line) -> None:
        """After a step: its line of metrics.jsonl."""
        if "skipped" in line:
            self._say(f"step {line['step']}/{self._steps}  left out: its {line['skipped']} is not finite")
            return
        old = self._loss
        self._loss = line["loss"] if math.isnan(old) else SMOOTHING * old + (1 - SMOOTHING) * line["loss"]
        seconds = line["seconds"] - self._last["seconds"]
        if seconds > 0:
            rate = (line["tokens"] - self._last["tokens"]) / seconds
            self._rate = rate if math.isnan(self._rate) else SMOOTHING * self._rate + (1 - SMOOTHING) * rate
        self._last = line
        if self._bar is not None:
            self._bar.update(self._task, completed=line["step"], description=self._words())
        elif time.monotonic() - self._printed > PAUSE:
            self._say(f"step {line['step']}/{self._steps}  {self._words()}")

    def evaluation(self, line: Line) -> None:
        """After an evaluation: its line of metrics.jsonl."""
        self._validation = _words_of(line)
        self._say(f"step {line['step']}/{self._steps}  {self._validation}{self._loss_words()}")

    def warn(self, text: str) -> None:
        """One line that is no part of the results: on stderr, or a Python warning where nothing is shown."""
        if self.console is None:
            warnings.warn(text, stacklevel=2)
        elif not self.console.quiet:
            print(f"warning: {printable(text)}", file=sys.stderr)

    def stop(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _words(self) -> str:
        shown = f"  {self._validation}" if self._validation else ""
        return f"mean loss {self._loss:.3f}{shown}  {self._rate:,.0f} tokens/s"

    def _loss_words(self) -> str:
        return "" if math.isnan(self._loss) else f"  mean loss {self._loss:.3f}  {self._rate:,.0f} tokens/s"

    def _say(self, text: str) -> None:
        self._printed = time.monotonic()
        if self.console is not None:
            self.console.print(text, highlight=False, soft_wrap=True)


def _words_of(line: Line) -> str:
    """An evaluation in words: the perplexity of a text, or the loss and the metrics of a task."""
    if "validation_perplexity" in line:
        return f"validation perplexity {line['validation_perplexity']:.2f}"
    found = {key.removeprefix("validation_"): value for key, value in line.items() if key.startswith("validation_")}
    return "validation " + ", ".join(f"{key} {value:.4f}" for key, value in found.items())
