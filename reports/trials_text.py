"""The results of trained networks in words and digits, and as the table of the terminal."""

from __future__ import annotations

import math
from pathlib import Path

from reports import digits, trials
from reports.trials import Claim, Interval, Line, Result

PERCENT = ("accuracy", "miou")  # scores that are told in percent
WORDS = {"accuracy": "accuracy %", "miou": "mean IoU %", "psnr": "PSNR dB", "ssim": "SSIM"}


def scaled(metric: str, value: float) -> float:
    return 100 * value if metric in PERCENT else value


def number(metric: str, value: float, sign: bool = False) -> str:
    """A score or a difference of scores, with two decimals."""
    if not math.isfinite(value):
        return digits.NONE
    text = f"{scaled(metric, value):{'+' if sign else ''}.{4 if metric == 'ssim' else 2}f}"
    return text if float(text) else text.lstrip("+-")  # -0.00 is none


def ends(metric: str, interval: Interval, sign: bool = False) -> str:
    """The interval in brackets; nothing where there is none."""
    low, high = interval
    return f"[{number(metric, low, sign)}, {number(metric, high, sign)}]" if math.isfinite(low) else ""


def heads(result: Result) -> list[str]:
    more = [WORDS[name] for name in (result.lines[0].others if result.lines else ())]
    score = [WORDS[result.metric], "95 %", f"minus {result.reference}", "95 %"]
    return ["method", *score, *more, "step ms", "cost", "parameters"]


def cells(result: Result, line: Line) -> list[str]:
    metric = result.metric
    own = line.subject == result.reference
    return [
        line.subject + ("" if line.mean >= result.floor else " (below the floor)"),
        number(metric, line.mean), ends(metric, line.interval),
        *(("", "") if own else (number(metric, line.difference, True), ends(metric, line.difference_interval, True))),
        *(number(name, sum(by.values()) / len(by)) for name, by in line.others.items()),
        f"{1e3 * line.step:.1f}" if line.steps else digits.NONE,
        digits.times(line.cost, exact=own), str(line.parameters),
    ]  # fmt: skip


def verdict(result: Result) -> str:
    """In a sentence: whether the networks were trained, and what of the paper's order holds."""
    floor = f"the floor is {result.floor_words} ({number(result.metric, result.floor)})"
    if not result.lines:
        return "nothing was trained"
    if not result.trained:
        return f"not trained: a baseline is below the floor or was not asked for, so nothing is claimed; {floor}"
    if result.seeds < trials.LEAST:
        return f"{seeds(result)}, no intervals below {trials.LEAST}, so nothing is claimed; {floor}"
    parts = [f"{words}: {', '.join(map(pair, found))}" for words, found in _sorted(result.claims) if found]
    return f"of the paper's order {'; '.join(parts) or 'no pair was asked for'}; {floor}"


def seeds(result: Result) -> str:
    return f"{result.seeds} seed{'' if result.seeds == 1 else 's'}"


def pair(claim: Claim) -> str:
    return f"{claim.better} > {claim.worse}"


def _sorted(claims: list[Claim]) -> list[tuple[str, list[Claim]]]:
    words = {"holds": "holds", "reversed": "the other way round", "open": "open (the interval holds 0)"}
    return [(word, [c for c in claims if c.verdict == verdict]) for verdict, word in words.items()]


def betas(result: Result) -> list[str]:
    """Of each layer that learned a beta, its mean over seeds and places, and its range."""
    found = []
    for line in result.lines:
        said = [
            f"{name} {sum(b['mean'] for b in of) / len(of):.2f} "
            f"({min(b['low'] for b in of):.2f} to {max(b['high'] for b in of):.2f})"
            for name, of in line.betas.items()
        ]
        found += [f"beta of {line.subject}: {', '.join(said)}"] if said else []
    return found


def says(result: Result) -> list[str]:
    """What stands below the table: the verdict, the betas, and what is doubtful or missing."""
    return [verdict(result), *betas(result), *(f"doubtful: {d}" for d in result.doubts), *result.holes]


def text(run: Path) -> str:
    """Every task of the run as a table with its verdict."""
    return "\n".join(_block(result) for result in trials.results(run))


def _block(result: Result) -> str:
    rows = [heads(result), *(cells(result, line) for line in result.lines)]
    wide = [max(map(len, column)) for column in zip(*rows, strict=True)]
    table = ["  ".join([row[0].ljust(wide[0]), *map(str.rjust, row[1:], wide[1:])]) for row in rows]
    head = f"{result.title}, {seeds(result)}"
    return "\n".join([head, *(table if result.lines else []), *(f"  {line}" for line in says(result)), ""])
