"""One Markdown page of all the tables that are done."""

from __future__ import annotations

import json
import math
import os
import platform
from pathlib import Path
from typing import TYPE_CHECKING, Any

from frugal_gpu.studies.tables.tables import TABLES
from frugal_theory.config.version import installed
from frugal_theory.results.files import finished, write_text

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["HEADING", "page", "publish"]

HEADING = "## The tables"
"""What stands below it in a page is written by :func:`publish`."""

TITLES = {
    "learning-rates": "Learning rates",
    "figure-2": "Figure 2: principal angles of the gradient's leading subspaces",
    "table-5-prime": "Table 5′: state by size",
    "table-7-prime": "Table 7′: time of an optimizer step by size, over fused AdamW's",
}
"""Of the studies that are no table of losses."""

IMAGES = Path("images") / "studies"
"""Where the pictures of a page lie, beside it."""


def page(folder: Path) -> Path:
    """Write ``studies.md`` into a folder that holds the studies' folders: question, table, answer of each; returns its path."""
    import pandas as pd

    lines: list[str] = []
    for record in sorted(folder.glob("*/study.json"), key=lambda path: _place(path.parent.name)):
        said = json.loads(record.read_text(encoding="utf-8"))
        name = said["name"]
        table = pd.read_csv(record.parent / "table.csv")
        title = TABLES[name].title if name in TABLES else TITLES.get(name, name)
        picture = f"![{title}]({name}/figures/{name}.png)"
        lines += [f"### {title}", "", said["question"], "", *_table(name, table), "", picture, ""]
        lines += [f"**{said['status']}.** {said['answer']}", ""]
    write_text(folder / "studies.md", "\n".join([_machine(folder), "", *lines]))
    return folder / "studies.md"


def publish(folder: Path, target: Path) -> None:
    """The page below the heading of a Markdown file that has one, and the pictures beside it."""
    before = target.read_text(encoding="utf-8").split(HEADING)[0] if target.is_file() else ""
    text = page(folder).read_text(encoding="utf-8")
    for picture in sorted(folder.glob("*/figures/*.png")):
        text = text.replace(f"({picture.relative_to(folder).as_posix()})", f"({(IMAGES / picture.name).as_posix()})")
        with finished(target.parent / IMAGES / picture.name) as temporary:
            temporary.write_bytes(picture.read_bytes())
    write_text(target, f"{before}{HEADING}\n\n{text}")


def _machine(folder: Path) -> str:
    """Where the runs were made, how many there are and how long they took."""
    runs = [json.loads(path.read_text(encoding="utf-8")) for path in sorted((folder / "runs").glob("*.json"))]
    minutes = sum(row["wall"] for row in runs) / 60
    devices = ", ".join(sorted({str(row["device"]) for row in runs if row["device"]})) or "no device"
    return (
        f"{len(runs)} runs on {devices} ({platform.machine()}, {os.cpu_count()} cores), torch {installed('torch')}, Python "
        f"{platform.python_version()}; {minutes:.0f} minutes in all, beside whatever else the machine did."
    )


def _place(name: str) -> tuple[int, str]:
    order = list(TABLES)
    return (order.index(name) if name in order else len(order), name)


def _table(name: str, table: pd.DataFrame) -> list[str]:
    if name in TABLES:
        return _of_losses(name, table)
    if name == "learning-rates":
        wide = table.pivot(index="setting", columns="factor", values="loss").reindex(dict.fromkeys(table["setting"]))
        rows = [
            [str(index), *(_number(value) for value in row)] for index, row in zip(wide.index, wide.to_numpy(), strict=True)
        ]
        return _lines(["system", *(f"× {factor:g}" for factor in wide.columns)], rows)
    if name == "figure-2":
        kinds = table.assign(kind=table["tensor"].str.removesuffix(".weight").str.rsplit(".", n=1).str[-1])
        means = kinds.groupby("kind", sort=False)[["cosine", "first", "inside", "random"]].mean()
        head = ["matrix", "cosine to the one before", "to the first", "energy kept", "by an unrelated one"]
        return _lines(
            head, [[str(k), *(f"{x:.2f}" for x in row)] for k, row in zip(means.index, means.to_numpy(), strict=True)]
        )
    if name == "table-5-prime":
        rows = [[r.preset, r.setting, f"{r.state_bytes / 2**30:.2f}", f"{r.reported:.2f}"] for r in table.itertuples()]
        return _lines(["model", "system", "state, GiB", "reported"], rows)
    wide = table.pivot(index="optimizer", columns="preset", values="ratio").reindex(dict.fromkeys(table["optimizer"]))
    wide = wide[list(dict.fromkeys(table["preset"]))]
    return _lines(
        ["optimizer", *wide.columns],
        [[str(k), *(f"{x:.2f}" for x in row)] for k, row in zip(wide.index, wide.to_numpy(), strict=True)],
    )


def _of_losses(name: str, table: pd.DataFrame) -> list[str]:
    """A line a setting, seeds by their mean and, from three on, Student's 95 % interval."""
    known = TABLES[name]
    head = ["setting", "learning rate", "validation loss", "perplexity", "state, KiB"]
    head += [f"reported, other data: {known.unit}"] if known.numbers else []
    rows = []
    for setting, own in table.groupby("setting", sort=False):
        first, losses = own.iloc[0], own["loss"]
        choice = f", {first['choice']}" if isinstance(first["choice"], str) and first["choice"] else ""
        rate = f"{first['learning_rate']:g}{choice}{' (end of the grid)' if first['edge'] else ''}"
        mean = float(losses.mean())
        loss = _number(mean) + (f" ± {_half(losses):.3f}" if len(losses) > 2 and math.isfinite(mean) else "")
        state = _number(own["state_bytes"].max() / 1024, 1)
        row = [str(setting), rate, loss, _number(math.exp(mean) if math.isfinite(mean) else mean, 2), state]
        rows.append([*row, *([_number(first["reported"], 2)] if known.numbers else [])])
    return _lines(head, rows)


def _half(losses: Any) -> float:
    from scipy import stats

    return float(stats.t.ppf(0.975, len(losses) - 1) * losses.std(ddof=1) / math.sqrt(len(losses)))


def _number(value: float, digits: int = 3) -> str:
    return f"{value:.{digits}f}" if math.isfinite(value) else "–"


def _lines(head: list[str], rows: list[list[str]]) -> list[str]:
    return [f"| {' | '.join(line)} |" for line in (head, ["---", *("---:" for _ in head[1:])], *rows)]
