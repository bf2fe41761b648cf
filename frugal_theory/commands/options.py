"""What the command lines of both packages have in common."""

from __future__ import annotations

import io
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from frugal_theory.commands.blame import own_line
from frugal_theory.config.extras import missing
from frugal_theory.config.load import ExperimentError
from frugal_theory.config.one_line import printable
from frugal_theory.config.version import installed
from frugal_theory.studies.interruption import INTERRUPTED

__all__ = [
    "CORES",
    "INTERRUPTED",
    "Cluster",
    "ExperimentFile",
    "Jobs",
    "Json",
    "Out",
    "Settings",
    "application",
    "in_one_line",
    "path_given",
]

NOTHING_KEPT = "interrupted: nothing is kept; the same command begins again"

OURS = "a fault of frugal-lab, which we would like to hear of"
TRACEBACK = "FRUGAL_LAB_TRACEBACK"
"""The environment variable that lets such a fault, or one in the user's own code, show where it is."""

PATIENCE = 20.0
"""Seconds that a process of many waits for the one that speaks for all of them."""

UsageError: type[Any] = typer.BadParameter.__bases__[0]
"""What typer raises for a command line that it cannot read; it has no public name there."""

ExperimentFile = Annotated[Path, typer.Argument(metavar="EXPERIMENT.toml", help="The experiment file.")]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override one key, of [sweep], too: algorithm.density=0.5."),
]


def path_given(text: str) -> Path:
    """A path, for typer's ``parser``. Raises BadParameter for an empty one: it would be the folder at hand, without a word."""
    if not str(text):
        raise typer.BadParameter('it is empty; a path is allowed, "." for the folder at hand')
    return Path(text)


Out = Annotated[
    Path | None, typer.Option("--out", metavar="DIR", parser=path_given, help="Results folder (default: runs/NAME).")
]

Jobs = Annotated[
    int | None, typer.Option("--jobs", min=1, help="Processes that share the work (default: one per core).", show_default=False)
]
Json = Annotated[bool, typer.Option("--json", help="Print the results as JSON, for scripts, and nothing else.")]
Cluster = Annotated[
    str | None, typer.Option("--cluster", metavar="ADDRESS", help="Use this Dask cluster, e.g. tcp://127.0.0.1:8786.")
]

CORES = os.cpu_count() or 1
COMPLETION = ("--show-completion", "--install-completion")


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"frugal-lab {installed()}")
        raise typer.Exit


Version = Annotated[
    bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and do nothing else.")
]


def application(purpose: str, *, several: bool = False) -> typer.Typer:
    """An empty command line with plain help texts and plain errors. One of ``several`` commands has --version, too."""
    app = typer.Typer(
        help=purpose,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
    )

    def everything(version: Version = False) -> None:
        pass

    if several:
        app.callback(help=purpose)(everything)
    return app


def in_one_line(command: Callable[[], Any], quiet: bool = False) -> NoReturn:
    """Run a command that returns its exit status, and exit with it; what the user got wrong, or the disk, is one line on
    stderr and exit status 2, Ctrl-C is 130. ``quiet``: another process says the line, and ends this one, if it has the same
    to say; if nothing of the kind happens, this one says it."""
    _every_character_somehow()
    try:
        status = command()
        if status == 1 and any(word in sys.argv for word in COMPLETION):
            status = 2  # the shell is not supported, which is no claim that failed
    except (UsageError, ExperimentError) as error:
        _stop(getattr(error, "format_message", error.__str__)(), 2, quiet)
    except OSError as error:  # ResultsError has said everything itself
        where = f"{error.filename}: " if error.filename else ""
        _stop(f"{where}{error.strerror or error}", 2, quiet)
    except SystemExit as ended:  # of a shell that asks for words: "not supported" is no claim that failed
        raise SystemExit(2 if ended.code == 1 else ended.code) from None
    except ModuleNotFoundError as error:
        if (line := missing(error.name)) is None:
            raise
        _stop(line, 2, quiet)
    except (KeyboardInterrupt, typer.Abort):
        status = INTERRUPTED
    except MemoryError as error:
        _stop(f"not enough memory{f': {error}' if str(error) else ''}; a smaller experiment needs less", 2, quiet)
    except Exception as error:  # of our code or the user's: Python would exit with 1, which means that a claim failed
        if os.environ.get(TRACEBACK):
            raise
        _stop(f"{own_line(error) or OURS}: {type(error).__name__}: {error} ({TRACEBACK}=1 shows where)", 2, quiet)
    if status == INTERRUPTED:  # whatever keeps something says so itself, and exits
        _stop(NOTHING_KEPT, INTERRUPTED, quiet)
    raise SystemExit(status if isinstance(status, int) else 0)


def _every_character_somehow() -> None:
    """Let no locale turn a sign of ours into an error: what an encoding lacks is spelled out."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _stop(line: str, status: int, quiet: bool) -> NoReturn:
    if quiet:
        time.sleep(PATIENCE)
    print(printable(line), file=sys.stderr)
    raise SystemExit(status) from None
