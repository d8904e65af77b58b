"""What the inner loop of a CUDA kernel executes, read from its disassembly: instructions by class, for each input.

Rule: of all ways once round a loop of the kernel, the one that does the most arithmetic and stores the most bytes by
the widest stores that the loop has, and of those the shortest. So edges of images, operands that are read again, and
other rare turns do not count.
Knows SASS, no CUDA runtime, no clock.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_INSTRUCTION = re.compile(r"/\*[0-9a-f]{4,}\*/\s+(.*?)\s*;")
_LABEL = re.compile(r"^(\.L_x_\d+):")
_BRANCH = re.compile(r"BRA.*`\((\.L_x_\d+)\)")
_PREDICATE = re.compile(r"^@!?U?P\w+\s+")
_CONDITION = re.compile(r"\bBRA\b[^`]*\b!?U?P\d")
_ARITHMETIC = re.compile(r"FFMA|FMUL|FADD")
_STORED = {"128": 16.0, "64": 8.0, "U16": 2.0}  # bytes of global stores; others: 4
CLASSES = (
    ("mufu", r"MUFU"), ("fma", r"FFMA|FMUL|FADD"), ("fp64", r"D(ADD|MUL|FMA|SETP|MNMX)"), ("local", r"LDL|STL"),
    ("atomics", r"ATOM|RED\b"), ("load16", r"LDG.*\.128"), ("load8", r"LDG.*\.64"), ("load4", r"LDG"),
    ("store16", r"STG.*\.128"), ("store8", r"STG.*\.64"), ("store4", r"STG"), ("shared", r"LDS|STS"), ("other", r"."),
)  # fmt: skip


@dataclass(frozen=True)
class Code:
    """The instructions of a kernel, and the places of its labels among them."""

    words: Sequence[str]
    labels: Mapping[str, int]

    @staticmethod
    def read(lines: Sequence[str]) -> Code:
        words: list[str] = []
        labels: dict[str, int] = {}
        for line in lines:
            if label := _LABEL.match(line):
                labels[label[1]] = len(words)
            elif found := _INSTRUCTION.search(line):
                words.append(found[1])
        return Code(words, labels)

    def target(self, at: int) -> int | None:
        """Where the instruction `at` may branch to."""
        found = _BRANCH.search(self.words[at])
        return self.labels.get(found[1]) if found else None

    def name(self, at: int) -> str:
        return _PREDICATE.sub("", self.words[at]).split(maxsplit=1)[0]

    def next(self, at: int) -> list[int]:
        """What may follow an instruction, loops back apart."""
        word, target = self.words[at], self.target(at)
        conditional = word.startswith("@") or _CONDITION.search(word) is not None
        follows = [] if target is None or target <= at else [target]
        if target is not None and not conditional:
            return follows
        ends = target is None and self.name(at).partition(".")[0] in ("EXIT", "RET", "BRA") and not conditional
        return follows if ends else [*follows, at + 1]


def path(lines: Sequence[str]) -> list[str]:
    """The names of the instructions on the hot path of a kernel; nothing where it has no loop."""
    code = Code.read(lines)
    ways = []
    for last in range(len(code.words)):
        first = code.target(last)
        if first is not None and first <= last:
            ways.append(_once_round(code, first, last))
    return max(ways, default=(0.0, 0, []))[2]


def _once_round(code: Code, first: int, last: int) -> tuple[float, int, list[str]]:
    """Work, minus length and names of the best way from a loop's head to the branch back to it."""
    widest = max((_stored(code.name(at)) for at in range(first, last)), default=0.0)
    best: dict[int, tuple[float, int, int | None]] = {last: (0.0, -1, None)}  # work, minus length, what follows
    for at in range(last - 1, first - 1, -1):
        ahead = [(best[n][0], best[n][1], n) for n in code.next(at) if n in best]
        if ahead:
            work, length, follows = max(ahead)
            best[at] = (work + _work(code.name(at), widest), length - (code.name(at) != "NOP"), follows)
    names = []
    here: int | None = first if first in best else None
    while here is not None:
        names.append(code.name(here))
        here = best[here][2]
    work, length = best[first][:2] if first in best else (0.0, 0)
    return work, length, [name for name in names if name != "NOP"]


def _work(name: str, widest: float) -> float:
    if _ARITHMETIC.match(name):
        return 1.0
    return widest if _stored(name) == widest else 0.0


def _stored(name: str) -> float:
    return _STORED.get(name.rpartition(".")[2], 4.0) if name.startswith("STG") else 0.0


def stored(names: Sequence[str]) -> float:
    """The bytes that a thread stores by the widest stores of some instructions."""
    widest = max(map(_stored, names), default=0.0)
    return sum(size for size in map(_stored, names) if size == widest)


def classes(names: Sequence[str]) -> Counter[str]:
    """How many instructions of each class; `slots` are all of them."""
    patterns = [(name, re.compile(pattern)) for name, pattern in CLASSES]
    counts = Counter(next(key for key, pattern in patterns if pattern.match(name)) for name in names)
    counts["slots"] = len(names)
    return counts
