"""Every public name has a docstring whose example runs; the README's Python runs too."""

import doctest
import inspect
import re
from pathlib import Path

import pytest
import torch

import adapool
from adapool.region import Region
from suites.golden import Golden

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


def test_readme_python_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    monkeypatch.setattr(adapool, "method", lambda *_, **__: lambda row: row)  # the examples must not stay in the table
    names = {"method": adapool.method, "GOLDEN": {}, "Golden": Golden}
    for block in blocks:
        exec(compile(block, "README.md", "exec"), names)
    assert names["restored"].shape == names["x"].shape
    region = Region(torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]]))
    assert names["gem"](region, 3.0).shape == names["rms"](region).shape == (1, 1, 2)


def test_the_readme_s_kernel_is_the_tested_one() -> None:
    (block,) = re.findall(r"```cpp\n(.*?)```", README.read_text(), re.DOTALL)
    assert block == (README.parent / "tests" / "support" / "gem.h").read_text()


PAGES = ("README.md", *(f"docs/{page.name}" for page in sorted((README.parent / "docs").glob("*.md"))))


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    path = README.parent / page
    prose = re.sub(r"```.*?```", "", path.read_text(), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)#]*)(?:#([^)]*))?\)", prose):
        file = (path.parent / target[0]).resolve() if target[0] else path
        assert file.exists(), f"{page} links {target[0]}"
        if target[1]:
            heads = re.findall(r"^#+ (.+)$", file.read_text(), re.MULTILINE)
            assert target[1] in {re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in heads}, target


def test_the_readmes_table_is_what_the_committed_runs_give() -> None:
    from reports import readme

    page = README.read_text()
    assert readme.put(page, readme.table(readme.read(readme.KEPT.read_text()))) == page, "python -m reports.readme"


def test_readme_names_every_method() -> None:
    text = README.read_text()
    assert not [name for name in (*adapool.names(), *adapool.LEARNED) if f"`{name}`" not in text]
