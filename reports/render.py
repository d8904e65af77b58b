"""Writes what people look at: records.csv with its dictionary, comparison.csv, plots/*.svg, report.html; where pyarrow
is, records.parquet.

Everything is built first and put in place by rename, the page last: there is never half a report.
"""

from __future__ import annotations

import importlib.util
import re
import shutil
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reports import (
    answer,
    columns,
    compared,
    comparison,
    doubts,
    extras,
    frame,
    implementations,
    losses,
    networks,
    pack,
    profiles,
    retained,
    sections,
    store,
    tables,
    together,
    trials,
    trials_section,
    view,
)
from reports.store import Folder

if TYPE_CHECKING:
    from pandas import DataFrame

TEMPLATES = Path(__file__).with_name("templates")
SCRIPTS = ("page.js", "gallery.js", "records.js")
METHOD = (
    "A result was checked against the method's definition before its speed was kept; "
    "a wrong one is a record without a number.",
    "cold: the inputs are not in the cache. hot: back to back. graph: replayed as a CUDA graph, without launch cost. "
    "host: what a caller in Python waits for. On the CPU, cold and hot are wall-clock times of the call.",
    "A time is the median of the kept samples. Its interval is distribution-free (binomial order statistics, at least "
    "95 %); it speaks of this run alone, not of another day or another machine.",
    "A ratio's interval is made of the ends of two 97.5 % intervals, so it is at least a 95 % interval.",
    "A first call waits for its CUDA kernels to be compiled, or read from disk (cached), and loaded. A run's are made "
    "side by side before anything is measured, so one alone is a little quicker.",
    "Memory is measured in a pass of its own, inputs not counted in. Energy is read over long windows of steady calls.",
    "Retained information: images in [0, 1], cropped to a multiple of the kernel; P1 pools and enlarges by bicubic "
    "interpolation, P2 compares with an antialiased downsample, P3 restores by the method's own inverse.",
)
_HEADINGS = re.compile(r'<(section|h3) id="([^"]+)">\s*(?:<h2>)?(.+?)</h[23]>')
_MARKERS = {
    "native": '<circle cx="5" cy="5" r="4"/>',
    "plain": '<rect x="1.2" y="1.2" width="7.6" height="7.6"/>',
    "torch": '<path d="M5 .4 9.6 5 5 9.6 .4 5z"/>',
    "compiled": '<path d="M5 .8 9.6 9H.4z"/>',
    "released": '<path d="M5 9.2.4 1h9.2z"/>',
    "own": '<path d="M3.4.6h3.2v2.8h2.8v3.2H6.6v2.8H3.4V6.6H.6V3.4h2.8z"/>',
    "copy": '<path d="M2.3.6 5 3.3 7.7.6 9.4 2.3 6.7 5l2.7 2.7-1.7 1.7L5 6.7 2.3 9.4.6 7.7 3.3 5 .6 2.3z"/>',
}


def write(runs: Folder | Sequence[Folder], out: Folder | None = None, pictures: int = extras.GALLERY_BYTES) -> Path:
    """Writes the report of a run into its folder, or of several runs into `out`; gives the path of report.html.

    `pictures` is how many bytes of them the page's galleries have at most.
    """
    paths = frame.folders(runs)
    if out is None and len(paths) > 1:
        raise ValueError("out: expected a folder for the report of several runs, got none")
    folder = Path(out) if out is not None else paths[0]
    if out is not None and (folder / store.RECORDS).exists():
        raise ValueError(f"out: expected a folder that is no run, got {folder}, which has records of its own")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        rows = frame.table(paths)
    tidy = rows[list(columns.NAMES)]
    notes = list(dict.fromkeys(str(one.message).replace(f"{Path(str(one.message)).parent}/", "") for one in caught))
    notes += frame.notes(paths, rows)
    for one in caught:
        warnings.warn_explicit(one.message, one.category, one.filename, one.lineno)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # what is read again warns again
        page, charts = _page(rows, paths, notes, folder, pictures)
    files = {
        "columns.txt": columns.as_text(),
        "records.csv": tidy.to_csv(index=False),
        "comparison.csv": implementations.side_by_side(tidy).to_csv(index=False),
    }
    _plots(folder, charts)
    if importlib.util.find_spec("pyarrow") is not None:
        store.write_file(folder / "records.parquet", tidy.to_parquet(index=False))
    for name, text in {**files, "report.html": page}.items():
        store.write_file(folder / name, text.encode())
    return folder / "report.html"


def _plots(folder: Path, charts: dict[str, str]) -> None:
    """Replaces the folder of plots by one that is complete."""
    folder.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=".plots.", dir=folder))
    try:
        for name, text in charts.items():
            (fresh / f"{name}.svg").write_text(text, encoding="utf-8")
        fresh.chmod(0o755)  # mkdtemp makes it private
        if (folder / "plots").exists():
            shutil.rmtree(folder / "plots")
        fresh.rename(folder / "plots")
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise


def _page(
    table: DataFrame, paths: list[Path], notes: list[str], folder: Path, pictures: int
) -> tuple[str, dict[str, str]]:
    rows = view.prepared(table[~table["superseded"]])
    found = view.groups(rows[rows["probe"].ne(trials.PROBE)])
    places = dict(zip(frame.names(paths), paths, strict=True))
    unseen = dict(places)  # a run's pictures are shown once
    trained = trials_section.sections(list(places.items()))
    shown = {section["run"] for section in trained}
    notes = notes + [
        f"{run}: what its networks learned is not shown, for machine.json does not say what they were trained for"
        for run in rows.loc[rows["probe"].eq(trials.PROBE), "run"].unique()
        if run not in shown
    ]
    devices: list[dict[str, Any]] = []
    for group in found:
        devices.append(
            {
                "anchor": group.anchor,
                "title": group.title,
                "cards": tables.cards(group),
                "answers": answer.answers(group),
                "columns": answer.COLUMNS,
                "losses": losses.losses(group.rows),
                "networks": networks.networks(group),
                "sections": sections.sections(group),
                "retention": retained.retention(group),
                "decibel": retained.differences(group),
                "scores": retained.of_images(group.rows),
                "tables": [*tables.latency_tables(group), *tables.first_calls(group)],
                "profiles": profiles.shown([places[run] for run in group.runs], set(group.rows["machine"]), folder),
                "gallery": extras.gallery([unseen.pop(run) for run in group.runs if run in unseen], pictures),
            }
        )
    page = filled(
        "report.html",
        title="Pooling methods, measured",
        subtitle=_subtitle(rows, found),
        notes=[*notes, *doubts.headlines(rows)],
        runs=frame.names(paths),
        devices=devices,
        trained=trained,
        together=_together(found, paths),
        failures=tables.failures(rows),
        data=pack.packed(rows),
        doubts=doubts.counted(rows),
        total=len(rows),
        shown=min(len(rows), pack.MOST),
        environments=_environments(paths),
        method=METHOD,
        measurement=extras.methods_of_measurement(rows),
        columns=columns.COLUMNS,
        style=(TEMPLATES / "style.css").read_text(encoding="utf-8"),
        script="".join((TEMPLATES / name).read_text(encoding="utf-8") for name in SCRIPTS),
        markers=_MARKERS,
    )
    drawn = list(trained)
    for device in devices:
        drawn += [*device["sections"], *filter(None, [device["decibel"]])]
    return page, {chart.name: chart.standalone for section in drawn for chart in section["charts"]}


def filled(template: str, **words: Any) -> str:
    """A template with its words in place; only what it calls safe is markup."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    environment.filters["capitalize_first"] = lambda text: str(text)[:1].upper() + str(text)[1:]
    environment.filters["contents"] = _contents
    return environment.get_template(template).render(words)


def _contents(body: str) -> list[tuple[str, str, int]]:
    """Anchor, title (markup) and depth of every section of the page, and of every part of one that has an anchor."""
    return [(anchor, title, 1 if tag == "section" else 2) for tag, anchor, title in _HEADINGS.findall(body)]


def _subtitle(tidy: DataFrame, found: list[view.Group]) -> str:
    if tidy.empty:
        return "No records."
    commits = [str(commit)[:12] for commit in tidy["commit"].dropna().unique()]
    dirty = " with uncommitted changes" if tidy["dirty"].fillna(False).any() else ""
    methods = tidy.loc[tidy["implementation"].ne("copy"), "method"].nunique()
    when = f"{tidy['time'].min()[:16].replace('T', ' ')} to {tidy['time'].max()[:16].replace('T', ' ')} UTC"
    count = len({machine for group in found for machine in group.rows["machine"]})  # two runs on one are two groups
    devices = f"{count} device{'s' if count > 1 else ''}" if found else "trained networks"
    code = ", ".join(commits) or "unknown"
    return f"{methods} methods, {devices}, {len(tidy)} records, {when}, commit {code}{dirty}."


def _together(found: list[view.Group], paths: list[Path]) -> dict[str, Any] | None:
    """Several devices or runs beside each other; for two runs, also the case-by-case comparison."""
    if len(found) < 2:
        return None
    table = together.together(found)
    text = None
    if len(paths) == 2:
        try:
            made = comparison.compare(paths[0], paths[1], across=True)
        except ValueError as error:
            return {"table": table, "text": f"Not compared: {error}"}
        rows, machines = made.table, [set(group.rows["machine"]) for group in found]
        if not machines[0] & machines[1]:  # a CPU and a GPU have other batches: what one alone has is no loss
            rows = rows[rows["b_over_a"].notna()]
        text = compared.text(rows, made.heads) if len(rows) else None
    return {"table": table, "text": text}


def _environments(paths: list[Path]) -> list[dict[str, Any]]:
    made = []
    for name, path in zip(frame.names(paths), paths, strict=True):
        machine = store.read_machine(path)
        devices = [
            (str(facts.get("name", key)), [("key", key), *extras.flat(facts)])
            for key, facts in machine["devices"].items()
            if isinstance(facts, dict)
        ]
        run = {key: value for key, value in machine["run"].items() if key != "spent"}
        facts = [fact for fact in extras.flat(run) if not extras.unasked(*fact)]
        made.append({"name": name, "facts": facts, "spent": extras.spent(machine), "devices": devices})
    return made
