"""A case in words names the kernels that its calls make, no more and no fewer: on the emulated device."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from tests.engine.test_first_call import case
from tests.support.emulator.build import ADDRESSES, compiler, emulated_library, environment, sanitizers

ROOT = Path(__file__).parents[2]
SMALL = {"shape": (2, 3, 7, 8), "dtype": "float32", "layout": "nchw"}
CASES = {
    "beta": case("ada", "both", shape=(2, 8, 6, 10)),
    "exponent": case("lp", "both", **SMALL),
    "exponent that is learned": case("power", "both", **SMALL),
    "logits": case("lip", "both", **SMALL),
    "drawn": case("stochastic", "both", **SMALL),
    "drawn, of the whole": case("stochastic", **SMALL | {"kernel": (7, 8), "padding": (0, 0)}),
    "rounded up": case("max", "both", ceil_mode=True, **SMALL | {"padding": (0, 0)}),
    "rounded up to a window": case("avg", ceil_mode=True, **SMALL | {"kernel": (8, 9), "padding": (0, 0)}),
    "from a guide": case("adaunpool_guide", "inverse", **SMALL),
    "from masks": case("adaunpool_masks", "inverse", **SMALL),
}

pytestmark = pytest.mark.skipif(
    compiler() is None or sanitizers() is None or not sys.platform.startswith("linux"),
    reason="no C++ compiler with sanitizers for the emulator",
)


@pytest.fixture(scope="module")
def found() -> dict[str, list[list[str]]]:
    asked = "\n".join(json.dumps(asdict(each)) for each in CASES.values())
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.emulator.first_calls"],
        cwd=ROOT, input=asked, capture_output=True, text=True, check=False,
        env=environment(sanitize=True, flags=ADDRESSES, library=emulated_library()),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return dict(zip(CASES, map(json.loads, done.stdout.splitlines()), strict=True))


@pytest.mark.parametrize("name", CASES)
def test_words_name_what_runs(found: dict[str, list[list[str]]], name: str) -> None:
    said, made = found[name]
    assert said == made and len(said) > 0 and all(file.endswith(".kernel") for file in said)
