"""The gallery's pictures and the environment's facts as plain data for the template."""

from __future__ import annotations

import base64
import io
import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pandas import DataFrame

GALLERY_BYTES = 2_400_000  # of WebP; with text and charts the page stays under 5 MB
_QUALITY = 76
_PICTURE = re.compile(r"(?P<image>.+)__(?P<method>.+?)__k(?P<k>[^_]+)__(?P<what>original|pooled|restored|error)\.png")
_COUNT = re.compile(r"\d+")


def gallery(folders: Sequence[Path], most: int = GALLERY_BYTES) -> dict[str, Any]:
    """The pictures of runs as data addresses: image and kernel -> method -> what; those left out are named."""
    scenes: dict[tuple[str, str], dict[str, Any]] = {}
    left_out, used = [], 0
    for path in sorted((p for folder in folders for p in folder.glob("gallery/*.png")), key=_scene):
        found = _PICTURE.fullmatch(path.name)
        picture = _webp(path) if found and used < most else None
        if not found or picture is None or used + len(picture) > most:
            left_out.append(path.name)
            continue
        scene = scenes.setdefault((found["image"], found["k"]), {"original": None, "methods": {}})
        if found["what"] == "original" and scene["original"]:
            continue
        used += len(picture)
        made = _address(picture)
        if found["what"] == "original":
            scene["original"] = made
        else:
            scene["methods"].setdefault(found["method"], {})[found["what"]] = made
    return {"scenes": scenes, "left_out": left_out}


def _webp(path: Path) -> bytes | None:
    """The picture for the page, a fifth of the bytes of its PNG; None for a file that is no picture."""
    from PIL import Image, UnidentifiedImageError

    made = io.BytesIO()
    try:
        with Image.open(path) as picture:
            picture.convert("RGB").save(made, "WEBP", quality=_QUALITY, method=4)
    except (UnidentifiedImageError, OSError):
        return None
    return made.getvalue()


def address(path: Path) -> str | None:
    """The picture as a data address; None for a file that is no picture."""
    picture = _webp(path)
    return None if picture is None else _address(picture)


def _address(picture: bytes) -> str:
    return "data:image/webp;base64," + base64.b64encode(picture).decode()


def _scene(path: Path) -> tuple[str, str, str]:
    """What is sorted by: a scene's pictures stand together, so that what has no room is the last scenes."""
    found = _PICTURE.fullmatch(path.name)
    image, k = (found["image"], found["k"]) if found else (path.name, "")
    return _COUNT.sub(lambda number: number[0].zfill(6), image), k.zfill(6), path.name


def spent(machine: dict[str, Any]) -> list[tuple[str, list[tuple[str, str, str]], str]]:
    """Where a run's time went: of each device its name, (part, seconds, share) from the longest on, and all seconds."""
    made = []
    for key, parts in machine["run"].get("spent", {}).items():
        facts = machine["devices"].get(key)
        total = sum(parts.values())
        if total <= 0:
            continue
        ranked = sorted(parts.items(), key=lambda part: -part[1])
        rows = [(part, f"{seconds:.1f}", f"{seconds / total:.0%}") for part, seconds in ranked]
        made.append((str(facts.get("name", key)) if isinstance(facts, dict) else key, rows, f"{total:.1f}"))
    return made


def flat(content: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Nested facts as name and text, one line each."""
    for name, value in content.items():
        if isinstance(value, dict) and value:
            yield from flat(value, f"{prefix}{name}.")
        elif value is None:  # an axis that was not given is no fact that is unknown
            yield f"{prefix}{name}", "not given" if prefix == "axes." else "unknown"
        else:
            yield f"{prefix}{name}", value if isinstance(value, str) else json.dumps(value)


def unasked(name: str, value: str) -> bool:
    """Whether a fact is an axis that the run left as it is."""
    return name.startswith("axes.") and value in ("not given", "[]", "false")


def methods_of_measurement(rows: DataFrame) -> list[tuple[str, str, str]]:
    """Probe, name and values of what records say about the measuring; many values become a range or a count."""
    seen: dict[tuple[str, str], Counter[str]] = {}
    for (probe, text), part in rows.groupby(["probe", "measurement"], sort=False):
        for name, value in flat(json.loads(str(text))):
            seen.setdefault((str(probe), name), Counter())[value] += len(part)
    return [(probe, name, _values(counts)) for (probe, name), counts in seen.items()]


def _values(counts: Counter[str]) -> str:
    if len(counts) <= 4:
        return ", ".join(counts)
    try:
        numbers = [float(value) for value in counts]
    except ValueError:
        return f"{len(counts)} different, mostly {counts.most_common(1)[0][0]}"
    return f"{min(numbers):g} to {max(numbers):g}"
