"""A report's page as a test reads it, and small runs to make one of."""

from __future__ import annotations

import html.parser
from pathlib import Path

import numpy as np
from PIL import Image

import reports
from reports import store
from reports.record import Record


class Page(html.parser.HTMLParser):
    """Checks that tags nest, and collects what a test asks about."""

    VOID = frozenset({"meta", "img", "br", "input", "link"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.addresses: list[str] = []
        self.tags: list[str] = []
        self.labels: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        self.tags.append(tag)
        self.ids += [named["id"] or ""] if "id" in named else []
        self.links += [named["href"] or ""] if tag == "a" else []
        self.addresses += [named[name] or "" for name in ("src", "href") if name in named and tag != "a"]
        self.labels += [named.get("aria-label") or ""] if named.get("class") == "chart" else []
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def page_of(run: Path | list[Path], out: Path | None = None) -> tuple[str, Page]:
    text = reports.write(run, out).read_text(encoding="utf-8")
    return text, Page(text)


def small(folder: Path, *made: Record, machine: bool = True) -> Path:
    store.append(folder, made)
    if machine:
        store.write_machine(folder, {"run": {}, "devices": {"cpu-1": {"name": "Example CPU"}}})
    return folder


def picture(run: Path, name: str, side: int = 8) -> None:
    """A noisy PNG, which compresses no better than a photograph."""
    (run / "gallery").mkdir(exist_ok=True)
    pixels = np.random.default_rng(side).integers(0, 255, (side, side, 3), dtype=np.uint8)
    Image.fromarray(pixels).resize((2 * side, 2 * side)).save(run / "gallery" / name)
