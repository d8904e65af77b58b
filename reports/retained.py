"""Retained information: the table of means, the difference to average pooling with its interval, the gallery's scores.

Knows the prepared table of view; draws by plots, ranks nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from reports import digits, plots, ranking, view
from reports.view import Group

if TYPE_CHECKING:
    from pandas import DataFrame

    from reports.svg import Chart

NEAR = 2.0  # dB below avg; what is farther is told in words, so that the last decibel can be seen


def retention(group: Group) -> list[dict[str, Any]]:
    """Per protocol: methods down, windows across, PSNR and SSIM as means over the images."""
    rows = group.rows[group.rows["probe"].eq("retention") & group.rows["metric"].isin(["psnr", "ssim"])]
    titles = {"P1": "P1, restored by bicubic enlargement", "P2": "P2, against an antialiased downsample"}
    titles |= {"P3": "P3, restored by the method's own inverse"}
    made = []
    for protocol, part in rows.drop_duplicates(["protocol", "method", "window", "metric", "image"]).groupby("protocol"):
        of: dict[tuple[str, str, str], list[dict[Any, Any]]] = {}
        for row in part.to_dict("records"):
            of.setdefault((row["method"], row["window"], row["metric"]), []).append(row)
        names = view.windows(part)
        methods = list(dict.fromkeys(part["method"]))
        lines = {m: [_mean(of.get((m, w, metric), [])) for w in names for metric in ("psnr", "ssim")] for m in methods}
        _shade(list(lines.values()))
        images = sorted((part if part["status"].ne("ok").all() else part[part["status"].eq("ok")])["image"].unique())
        title = titles.get(str(protocol), str(protocol))
        made.append({"title": title, "windows": names, "lines": lines, "images": images})
    return made


def _mean(rows: list[dict[Any, Any]]) -> dict[str, Any]:
    """One cell: the mean over the images that have a number; its tip has them all."""
    good = [row["median"] for row in rows if row["status"] == "ok"]
    each = [f"{r['image']}: {r['text']}" + ("" if r["status"] == "ok" else f" ({r['reason']})") for r in rows]
    made = {"tip": "\n".join(each) or "not measured", "hole": not good, "heat": None, "part": 0 < len(good) < len(rows)}
    if not good:
        return {**made, "text": rows[0]["status"] if rows else digits.NONE, "sort": None}
    value = sum(good) / len(good)
    return {**made, "text": digits.quantity(value, rows[0]["unit"]).removesuffix(" dB"), "sort": value}


def _shade(lines: list[list[dict[str, Any]]]) -> None:
    """Gives each number its rank in its column, worst 0 to best 1; by value, one outlier would hide the rest."""
    for column in zip(*lines, strict=True):
        ranks = sorted({item["sort"] for item in column if item["sort"] is not None})
        for item in column:
            if item["sort"] is not None and len(ranks) > 1:
                item["heat"] = f"{ranks.index(item['sort']) / (len(ranks) - 1):.2f}"


def differences(group: Group) -> dict[str, Any] | None:
    """Per window, each method's PSNR less avg's over the same images, mean and interval; None without two methods."""
    scores = view.scores(group.rows)
    found = [(name, _against_avg(scores[scores["window"].eq(name)])) for name in view.windows(scores)]
    near = [(name, rows[rows["x"] >= -NEAR]) for name, rows in found if rows is not None]
    near = [(name, rows) for name, rows in near if len(rows) > 1]
    if not near:
        return None
    ends = [v for _, rows in near for column in ("x", "lo", "hi") for v in rows[column].dropna()]
    limits = (max(min(*ends, -0.1), -NEAR), min(max(*ends, 0.1), NEAR))
    tick = plots.signed_tick(" dB")
    charts: list[Chart] = [
        plots.dots(rows, f"{group.anchor}-decibel-{name}".replace(" ", "_"), f"Window {name}", tick, 0.0, True, limits)
        for name, rows in near
    ]
    far = [
        f"window {name}: " + ", ".join(f"{m} {x:+.1f} dB" for m, x in zip(part["method"], part["x"], strict=True))
        for name, rows in found
        if rows is not None and len(part := rows[rows["x"] < -NEAR])
    ]
    kinds = plots.series(near[0][1])
    return {"anchor": f"{group.anchor}-decibel", "charts": charts, "series": kinds, "far": far, "near": NEAR}


def _against_avg(scores: DataFrame) -> DataFrame | None:
    """A row per method in the columns that plots read; only the images that avg has."""
    import pandas as pd

    avg = scores[scores["method"].eq("avg")].set_index("image")["median"]
    if avg.empty:
        return None
    made = []
    for method, part in scores.groupby("method", sort=False):
        own = part.set_index("image")["median"]
        common = [image for image in avg.index if image in own.index]
        if method == "avg" or not common:
            continue
        span = ranking.difference([own[image] for image in common], [avg[image] for image in common])
        ends = f", 95 % interval {span.lo:+.2f} to {span.hi:+.2f} dB" if span.lo == span.lo else ", no interval"
        tip = f"{method}: {span.value:+.2f} dB against avg{ends}; {len(common)} image{'s' if len(common) > 1 else ''}"
        each = "\n".join(f"{image}: {own[image] - avg[image]:+.2f} dB" for image in common[:12])
        row = {"method": method, "implementation": part["implementation"].iloc[0], "tip": f"{tip}\n{each}", "r": -1}
        made.append({**row, "x": span.value, "lo": span.lo, "hi": span.hi, "warned": span.lo != span.lo})
    return pd.DataFrame(made) if made else None


def of_images(rows: DataFrame) -> dict[tuple[str, str, str], str]:
    """(image, kernel, method) -> PSNR and its difference to avg, for the gallery, which shows stride = kernel."""
    scores = view.scores(rows[rows["square"]])
    at = {(r["image"], view.sized(r["kernel"]), r["method"]): r["median"] for r in scores.to_dict("records")}
    said = {}
    for (image, k, method), value in at.items():
        avg = at.get((image, k, "avg"))
        more = f", {value - avg:+.2f} against avg" if avg is not None and method != "avg" else ""
        said[image, k, method] = f"{digits.quantity(value, 'dB')}{more}"
    return said
