"""The command line: frugal-theory. A command has a file of its own, and loads what it needs when it is called."""

from __future__ import annotations

from frugal_theory.commands.attack import attack
from frugal_theory.commands.certify import certify
from frugal_theory.commands.init import init
from frugal_theory.commands.keys import keys
from frugal_theory.commands.ladder import ladder
from frugal_theory.commands.listing import proofs, theorems
from frugal_theory.commands.options import application, in_one_line
from frugal_theory.commands.rates import rates
from frugal_theory.commands.report import report
from frugal_theory.commands.self_test import self_test
from frugal_theory.commands.study import study
from frugal_theory.commands.verify import simulate, verify

__all__ = ["app", "main"]

app = application("Simulate the FRUGAL algorithm family and judge convergence theorems.", several=True)

app.command()(verify)
app.command()(simulate)
app.command()(study)
app.command()(theorems)
app.command()(proofs)
app.command()(keys)
app.command(name="self-test")(self_test)
app.command()(attack)
app.command()(ladder)
app.command()(rates)
app.command()(certify)
app.command()(report)
app.command()(init)


def main() -> None:
    """Entry point. Exit status 0: done; 1: a theorem was violated; 2: bad input; 130: interrupted."""
    in_one_line(lambda: app(standalone_mode=False))
