"""The project's pages as tests read them: their blocks of code, their headings and links."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

__all__ = ["PAGES", "ROOT", "Block", "anchors", "blocks", "commands", "links"]

ROOT = Path(__file__).parents[1]
PAGES = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "simulations").glob("*.md")],
)
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", flags=re.MULTILINE | re.DOTALL)
INDENTED = re.compile(r"(?:^ {4}.*\n)+", flags=re.MULTILINE)


class Block(NamedTuple):
    """A fenced block: its language and its text."""

    language: str
    text: str


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page."""
    return [Block(*found) for found in FENCE.findall(page.read_text(encoding="utf-8"))]


def commands(page: Path) -> Iterator[str]:
    """The command lines of a page: in shell blocks, and in indented ones, with or without a prompt and a remark."""
    text = page.read_text(encoding="utf-8")
    shells = [one.text for one in blocks(page) if one.language == "sh"]
    for shell in (*shells, *INDENTED.findall(FENCE.sub("", text))):
        for line in shell.splitlines():
            command = re.sub(r"\s{2,}\S.*|\s+# .*", "", line.strip().removeprefix("$ ")).strip()
            if re.match(r"(frugal-(theory|gpu)|make|pip|python|torchrun)\b", command):
                yield command


def anchors(page: Path) -> set[str]:
    """What a link to a heading of the page may say after its #, as forges make them."""
    plain = FENCE.sub("", page.read_text(encoding="utf-8"))
    titles = re.findall(r"^#+ (.+)$", plain, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", re.sub(r"\[(.*?)\]\(.*?\)", r"\1", title).lower()).replace(" ", "-") for title in titles}


def links(page: Path) -> list[tuple[str, str]]:
    """The links of a page that stay in the repository: path and anchor, either of which may be empty."""
    plain = re.sub(r"`[^`\n]*`", "", FENCE.sub("", page.read_text(encoding="utf-8")))
    found = re.findall(r"\]\(([^)\s]+)\)", plain)
    inner = [target for target in found if not re.match(r"[a-z]+:", target)]
    return [(path, anchor) for path, _, anchor in (target.partition("#") for target in inner)]
