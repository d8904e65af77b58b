"""Makes matplotlib's SVG lean for the page: no empty groups, tenths of a pixel, only the styles that differ.

Knows matplotlib's way of writing and the page's style sheet; nothing of charts or data.
"""

from __future__ import annotations

import re
from html import escape
from typing import Any

_NUMBER = re.compile(r"-?\d+\.\d+(?:e-?\d+)?")
_SPACES, _LETTER = re.compile(r"\s*([A-Za-z])\s*"), r"\1"
_TAGS = re.compile(r"<(/?)g\b([^>]*)>")
_PLAIN = {  # what the style sheet or SVG itself says already
    "font-size: 8px", "stroke-linecap: round", "stroke-linejoin: miter", "stroke-opacity: 0.7", "fill: var(--ink)",
}  # fmt: skip


def compact(svg: str) -> str:
    """The same drawing in a fifth of the bytes; the page's rules for `figure.chart svg` give the rest."""
    svg = re.sub(r"<defs>\s*<clipPath.*?</defs>|<g/>", "", svg, flags=re.DOTALL)
    svg = re.sub(r' (?:clip-path="[^"]*"|transform="rotate\(-?0 [^"]*\)"|xml:space="\w+")', "", svg)
    svg = re.sub(r'<path d="[^"]*" style="fill: none"/>', "", svg)  # the figure's paper, which is not drawn
    svg = re.sub(r' (d|x|y|points)="([^"]*)"', _coordinates, svg)
    svg = re.sub(r' style="([^"]*)"', _style, svg)
    return re.sub(r">\s+<", "><", _without_groups(svg))


def point(attributes: str, kind: str, record: int, tip: str) -> str:
    """A marker that the page defines once, where matplotlib drew a shape of its own; a tip where it is of no record."""
    x, y = _middle(attributes)
    hollow = " hollow" if "fill: none" in attributes else ""
    says = f'data-r="{record}"' if record >= 0 else f'data-tip="{escape(tip)}"'
    return f'<use href="#m-{kind}" class="{kind}{hollow}" x="{x:.2f}" y="{y:.2f}" {says}/>'


def _middle(attributes: str) -> tuple[float, float]:
    """Of a shape drawn in place, the middle of its box; of a shape used, where it is put."""
    drawn = re.search(r' d="([^"]*)"', attributes)
    if not drawn:
        placed = dict(re.findall(r' ([xy])="([^"]*)"', attributes))
        return float(placed["x"]), float(placed["y"])
    numbers = [float(number) for number in re.findall(r"-?[\d.]+", drawn[1])]
    x, y = numbers[::2], numbers[1::2]
    return (min(x) + max(x)) / 2, (min(y) + max(y)) / 2


def _coordinates(found: re.Match[str]) -> str:
    text = _NUMBER.sub(lambda number: f"{float(number[0]):.1f}".removesuffix(".0"), found[2])
    return f' {found[1]}="{_SPACES.sub(_LETTER, text).strip()}"'


def _style(found: re.Match[str]) -> str:
    parts = [part.strip() for part in found[1].split(";")]
    kept = [part for part in parts if part and part not in _PLAIN and not part.startswith("font-family")]
    return f' style="{";".join(part.replace(": ", ":") for part in kept)}"' if kept else ""


def _without_groups(svg: str) -> str:
    """Takes out every group that says nothing."""
    stack: list[bool] = []

    def one(found: re.Match[Any]) -> str:
        if found[1]:
            return found[0] if stack.pop() else ""
        stack.append(bool(found[2].strip()))
        return str(found[0]) if stack[-1] else ""

    return _TAGS.sub(one, svg)
