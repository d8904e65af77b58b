"""The cases of a plan that are meant, by their keys or by globs. Torch-free."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from suites.axes import UsageError, near
from suites.case import Case


def only(
    plan: Mapping[str, Sequence[Case]], globs: Sequence[str], option: str = "case", what: str = "a case"
) -> dict[str, list[Case]]:
    """By device the cases that fit a glob, all of them without one; UsageError with the nearest key for one in vain."""
    for glob in globs:
        if not any(case.fits(glob) for cases in plan.values() for case in cases):
            keys = dict.fromkeys(case.key for cases in plan.values() for case in cases)
            keys = keys if ":" in glob else dict.fromkeys(key.partition(":")[2] for key in keys)
            raise UsageError(
                f"{option}: expected {what} of the plan or a glob that fits some, such as 'ada/native/*', "
                f"got {glob!r}; {near(glob, keys, 0.4)}`runner.py plan` with the same axes lists them"
            )
    return {d: [case for case in cases if not globs or any(map(case.fits, globs))] for d, cases in plan.items()}
