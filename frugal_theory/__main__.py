"""``python -m frugal_theory`` and the command frugal-theory: Ctrl-C is one line from the first moment on."""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> None:
    """The command line: see :func:`frugal_theory.commands.main.main`."""
    try:
        from frugal_theory.commands.main import main as command
    except KeyboardInterrupt:
        print("interrupted: nothing is kept; the same command begins again", file=sys.stderr)
        raise SystemExit(130) from None
    command()


if __name__ == "__main__":
    main()
