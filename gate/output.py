"""Verdicts for readers and machines: text, Markdown, JUnit XML, GitHub annotations, JSON. Makes no verdict itself.

Stdlib only.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.etree import ElementTree

from gate.judge import VERDICTS, Judgement, Result
from reports import digits, store
from reports.markdown import one_line
from reports.rules import ABSOLUTE

BAD = ("REGRESSED", "FAILED", "MISSING")
TOLD = (*BAD, "ENVIRONMENT", "IMPROVED", "NEW")  # listed one by one; the others are counted
LISTED = 40
HEAD = ("verdict", "case", "metric", "base → head")
WORDS = {  # exit codes, the gravest first
    4: "incorrect result", 1: "regression", 5: "unmeasured or missing cases",
    3: "unstable machine: nothing is confirmed", 0: "no regression",
}  # fmt: skip
_NOT_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

Judgements = Mapping[str, Judgement]  # device or subject of the comparison -> its verdicts


def exit_code(judgements: Judgements) -> int:
    """The gravest code of several comparisons."""
    codes = {judgement.exit_code for judgement in judgements.values()}
    return next(code for code in WORDS if code in codes or code == 0)


def numbers(result: Result) -> str:
    """What a result says in numbers: 1.2 ms -> 1.3 ms, +8.1 % (+6.9 to +9.4 %), margin 1 %."""
    sampled = result.lo is not None
    sides = [
        digits.NONE if v is None else digits.quantity(v, result.unit, *((v * 0.995, v * 1.005) if sampled else ()))
        for v in (result.base, result.head)
    ]
    words = " -> ".join(sides)
    if result.base is None and result.head is None:
        return ""
    if result.change is not None:
        words += ", " + _change(result.change, result)
    if result.lo is not None and result.hi is not None:
        words += f" (90 % interval {_change(result.lo, result)} to {_change(result.hi, result)})"
    if result.margin is not None:
        words += f", margin {_change(result.margin, result).lstrip('+')}"
    return words


def _change(value: float, result: Result) -> str:
    if result.metric in ABSOLUTE:
        return f"{value:+.4g}" + (f" {result.unit}" if result.unit != "1" else "")
    return f"{100 * value:+.1f} %"


def line(result: Result) -> str:
    """One result in one line."""
    parts = [numbers(result), result.note, result.cause or ""]
    return f"{result.verdict} {result.case} [{result.metric}]  " + "; ".join(part for part in parts if part)


def summary(judgement: Judgement) -> str:
    counts = ", ".join(f"{judgement.count(verdict)} {verdict}" for verdict in VERDICTS if judgement.count(verdict))
    if judgement.optional:
        return "; ".join(f"skipped: {reason}" for reason in judgement.skipped.values())
    skipped = f", {len(judgement.skipped)} skipped by both sides" if judgement.skipped else ""
    return (counts or "nothing was compared") + skipped


def text(judgements: Judgements) -> str:
    """For a terminal: what matters one by one, the rest counted."""
    lines = []
    for name, judgement in judgements.items():
        told = [result for result in judgement.results if result.verdict in TOLD]
        lines += [line(result) for result in told[:LISTED]]
        if len(told) > LISTED:
            lines.append(f"and {len(told) - LISTED} more in verdicts.json")
        wide = [r.detectable for r in judgement.results if r.detectable is not None and r.verdict == "INCONCLUSIVE"]
        if wide:
            lines.append(
                f"INCONCLUSIVE cases would have shown {min(wide):+.1%} at the best, {max(wide):+.1%} at the worst"
            )
        if judgement.unstable:
            lines.append(f"unstable{_let_pass(judgement)}: {judgement.unstable}")
        lines.append(f"{name}: {summary(judgement)}")
    code = exit_code(judgements)
    return "\n".join([*lines, f"exit code {code}: {WORDS[code]}"]) + "\n"


def markdown(title: str, judgements: Judgements) -> str:
    """A summary for a pull request: GitHub's and GitLab's Markdown."""
    code = exit_code(judgements)
    lines = [f"## {title}: {WORDS[code]}", ""]
    for name, judgement in judgements.items():
        lines += [f"### {one_line(name)}", "", summary(judgement), ""]
        if judgement.unstable:
            lines += [f"**Unstable machine{_let_pass(judgement)}:** {one_line(judgement.unstable)}", ""]
        told = [result for result in judgement.results if result.verdict in TOLD]
        if told:
            notes = ["; ".join(filter(None, (result.note, result.cause))) for result in told]
            lines += _table((*HEAD, "note"), [(*_cells(r), n) for r, n in zip(told, notes, strict=True)][:LISTED])
            if len(told) > LISTED:
                lines.append(f"\nand {len(told) - LISTED} more in verdicts.json")
            lines.append("")
        quiet = [result for result in judgement.results if result.verdict not in TOLD]
        if quiet:
            lines += [f"<details><summary>{len(quiet)} other verdicts</summary>", ""]
            lines += [*_table(HEAD, [_cells(result) for result in quiet[:400]]), "", "</details>", ""]
    return "\n".join(lines)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    cells = [head, ["---"] * len(head), *([one_line(cell) for cell in row] for row in rows)]
    return [f"| {' | '.join(row)} |" for row in cells]


def _let_pass(judgement: Judgement) -> str:
    return ", let pass by --unstable-ok" if judgement.unstable_ok else ""


def _cells(result: Result) -> tuple[str, ...]:
    return result.verdict, f"`{result.case}`", result.metric, numbers(result).replace("->", "→")


def junit(title: str, judgements: Judgements) -> bytes:
    """JUnit XML: a case and metric is a test; a regression is a failure, a missing result an error."""
    root = ElementTree.Element("testsuites", name=title)
    for device, judgement in judgements.items():
        suite = ElementTree.SubElement(root, "testsuite", name=_xml(device))
        counts = {"tests": 0, "failures": 0, "errors": 0, "skipped": 0}
        for result in judgement.results:
            counts["tests"] += 1
            name = _xml(f"{result.case} [{result.metric}]")
            test = ElementTree.SubElement(suite, "testcase", classname=_xml(f"gate.{result.metric}"), name=name)
            kind, words = _kind(result), _xml(line(result))
            if kind:
                counts[kind + ("" if kind == "skipped" else "s")] += 1
                ElementTree.SubElement(test, kind, message=words, type=result.verdict).text = words
            else:
                ElementTree.SubElement(test, "system-out").text = words
        for case, reason in judgement.skipped.items():
            counts["tests"] += 1
            counts["skipped"] += 1
            test = ElementTree.SubElement(suite, "testcase", classname="gate", name=_xml(case))
            ElementTree.SubElement(test, "skipped", message=_xml(reason))
        for key, count in counts.items():
            suite.set(key, str(count))
    ElementTree.indent(root)
    content: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return content


def _kind(result: Result) -> str | None:
    if result.verdict == "REGRESSED" or result.incorrect:
        return "failure"
    if result.verdict in ("FAILED", "MISSING"):
        return "error"
    return "skipped" if result.verdict in ("INCONCLUSIVE", "ENVIRONMENT") else None


def _xml(words: str) -> str:
    """Without the characters that XML and UTF-8 cannot hold."""
    return _NOT_XML.sub("\ufffd", words)


def workflow_commands(judgements: Judgements) -> list[str]:
    """GitHub's workflow commands, where GitHub reads them: an error a regression, a warning for what is not sure."""
    if os.environ.get("GITHUB_ACTIONS") != "true":
        return []
    found = []
    for name, judgement in judgements.items():
        for result in judgement.results:
            level = "error" if result.verdict in BAD else "warning" if result.verdict == "ENVIRONMENT" else None
            if level:
                title = _escaped(f"{result.verdict} on {name}", True)
                found.append(f"::{level} title={title}::{_escaped(line(result))}")
        if judgement.unstable:
            title = _escaped(f"unstable machine {name}", True)
            found.append(f"::warning title={title}::{_escaped(judgement.unstable)}")
    return found


def _escaped(words: str, inside: bool = False) -> str:
    words = words.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
    return words.replace(":", "%3A").replace(",", "%2C") if inside else words


def publish(folder: Path | None, title: str, judgements: Judgements, about: Mapping[str, object]) -> None:
    """verdicts.json, junit.xml and summary.md in the folder; the summary also where GitHub wants it."""
    data = {
        "schema": 1, "title": title, "exit_code": exit_code(judgements), **about,
        "comparisons": {name: judgement.to_dict() for name, judgement in judgements.items()},
    }  # fmt: skip
    shown = markdown(title, judgements)
    files = {
        "verdicts.json": (json.dumps(data, allow_nan=False, indent=1) + "\n").encode(),
        "junit.xml": junit(title, judgements),
        "summary.md": _xml(shown).encode(),
    }
    for name, content in files.items() if folder is not None else ():
        store.write_file((folder or Path()) / name, content)
    step = os.environ.get("GITHUB_STEP_SUMMARY")
    if step:
        with Path(step).open("a", encoding="utf-8") as file:
            file.write(_xml(shown) + "\n")
