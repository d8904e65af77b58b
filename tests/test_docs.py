"""Every public name has a docstring whose example runs; the README's Python runs too."""

import doctest
import inspect
from pathlib import Path

import pytest
import torch

import adapool

FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
NAMES = {**vars(adapool), "torch": torch, "adapool": adapool}
README = Path(__file__).parents[1] / "README.md"


@pytest.mark.parametrize("name", sorted(adapool.__all__))
def test_public_name_has_a_running_example(name: str) -> None:
    thing = getattr(adapool, name)
    if not callable(thing):
        return
    assert inspect.getdoc(thing), f"{name} has no docstring"
    runner = doctest.DocTestRunner(optionflags=FLAGS)
    for test in doctest.DocTestFinder(recurse=False).find(thing, name, globs=dict(NAMES)):
        runner.run(test)
    assert runner.summarize(verbose=False).failed == 0
