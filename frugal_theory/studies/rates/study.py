"""The study of rates: every fit of an experiment's algorithm, beside the number that theory predicts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from frugal_theory.config import Experiment
from frugal_theory.report.drawing import COLOURS
from frugal_theory.report.words import number
from frugal_theory.studies.figures import panels
from frugal_theory.studies.rates.fits import FITS, Law, law_of
from frugal_theory.studies.study import Answer, Run

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["STUDY", "Rates", "summary"]


class Rates:
    """A row a point (x, y) of a fit; every other column is the fit's."""

    name = "rates"
    question = "Are the rates and exponents on quadratics those that theory predicts?"
    by_cell = False

    def measure(self, experiment: Experiment, run: Run) -> pd.DataFrame:
        """Every fit. Raises ExperimentError for what is not Algorithm 2 on a quadratic."""
        import pandas as pd

        law = law_of(experiment)
        return pd.concat(run.each(fitted, [(law, name) for name in FITS]), ignore_index=True)

    def draw(self, table: pd.DataFrame) -> dict[str, Any]:
        """Every estimate over its prediction, less 1 (where 0 is predicted: the estimate), with its interval."""
        fits = summary(table)
        figure, (axes,) = panels(
            "Rates and exponents: what is fitted, against what is predicted",
            ["fitted / predicted − 1; where 0 is predicted, fitted"],
            "dots: fits to exact expectations; bars: their intervals; the line: the prediction.",
            left=330,
            height=110 + 24 * len(fits),
        )
        place = range(len(fits))[::-1]
        scale = fits["predicted"].where(fits["predicted"] != 0, 1.0).abs()
        off, low, high = ((fits[column] - fits["predicted"]) / scale for column in ("estimate", "lower", "upper"))
        colours = [COLOURS["violated" if verdict == "differs" else "hue-1"] for verdict in fits["verdict"]]
        axes.axvline(0, color=COLOURS["quiet"], linewidth=1)
        axes.hlines(place, low, high, color=colours, linewidth=1.6)
        axes.scatter(off, place, color=colours, s=22, zorder=3)
        axes.set_yticks(place, fits["name"])
        return {"rates": figure}

    def answer(self, table: pd.DataFrame) -> Answer:
        """Yes if every interval has its prediction in it, no if one is sharp and has not."""
        fits = summary(table)
        differing, wide = (fits[fits["verdict"] == verdict] for verdict in ("differs", "inconclusive"))
        told = [
            f"{row['name']} is {number(row['estimate'])}, not {number(row['predicted'])}" for _, row in differing.iterrows()
        ]
        sentence = f"{(fits['verdict'] == 'agrees').sum()} of {len(fits)} fitted rates agree with theory"
        sentence += "".join(f"; {one}" for one in told) + (f"; {len(wide)} are inconclusive" if len(wide) else "")
        return Answer(f"{sentence}.", "no" if len(differing) else "open" if len(wide) else "yes")


def fitted(law: Law, name: str) -> pd.DataFrame:
    """The points of one fit, with what was fitted."""
    fit = FITS[name](law)
    return fit.frame().assign(what=fit.what)


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """A row a fit."""
    return table.drop(columns=["x", "y"]).drop_duplicates("name", ignore_index=True)


STUDY = Rates()
