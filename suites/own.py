"""One's own operator: where it is, whether it is there, and how it becomes a callable.

The contract. `--method path/to/file.py:name`, or the name of an entry point of the group `adapool.methods`, names a
function

* whose first parameter is called `region`: a row as adapool's own, `f(region) -> y` or `-> (y, weights)`, of the values
  `region.values [N, C, *out, taps]`; further parameters need defaults; or
* any other: `f(x, kernel_size, stride, padding) -> y`, x `(N, C, *spatial)`, the three as tuples of one int per axis.

The result is `(N, C, *out)` with `out = floor((size + 2 padding - kernel) / stride) + 1`. An own operator has no
oracle: its output is checked for shape, for finiteness, and against a second run of itself on fresh copies of the same
numbers; its gradient against a difference quotient where it runs in float64. `verified` is false in its records,
unless the function says whose definition it implements: `f.oracle = "ada"`.
"""

from __future__ import annotations

import ast
import importlib.util
import inspect
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

GROUP = "adapool.methods"


@dataclass(frozen=True)
class Own:
    """An own operator, loaded: always called as `call(x, kernel, stride, padding)`."""

    name: str
    call: Callable[..., Tensor]
    oracle: str | None


def find(asked: str) -> tuple[str, str] | None:
    """(name, where it is) when `asked` names an own operator; None when it is no such name. Runs no code of it.

    ValueError when it looks like a file but the file or the function is not there.
    """
    path, colon, name = asked.rpartition(":")
    if not colon:
        if asked.endswith(".py") or "/" in asked:
            raise ValueError(f"method: expected path/to/file.py:name, got {asked!r} without a name")
        return (asked, f"entry:{asked}") if asked in entries() else None
    if not Path(path).is_file():
        raise ValueError(f"method: expected a Python file before the colon, got {path!r}, which is no file")
    if not re.fullmatch(r"[A-Za-z_]\w*", name):
        raise ValueError(f"method: expected a function's name after the colon, got {name!r}")
    try:
        tree = ast.parse(Path(path).read_bytes())
    except (SyntaxError, ValueError) as error:
        raise ValueError(f"method: {path} is not a Python file that can be read ({error})") from None
    if name not in _top_names(tree):
        known = ", ".join(sorted(n for n in _top_names(tree) if not n.startswith("_"))) or "nothing"
        raise ValueError(f"method: expected a function of {path}, got {name!r}; it defines {known}")
    return name, asked


def entries() -> tuple[str, ...]:
    """The names that installed packages offer."""
    return tuple(sorted({point.name for point in entry_points(group=GROUP)}))


def load(where: str) -> Own:
    """Import the operator. Whatever its code raises comes through; TypeError when it is no function."""
    path, _, name = where.rpartition(":")
    if path == "entry":
        found: Any = next(iter(entry_points(group=GROUP, name=name))).load()
    else:
        found = getattr(_module(Path(path)), name)
    if not callable(found):
        raise TypeError(f"{name}: expected a function, got {type(found).__name__}")
    first = next(iter(inspect.signature(found).parameters), None)
    call = _from_row(name, found) if first == "region" else found
    return Own(name, call, getattr(found, "oracle", None))


def _module(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(f"own_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path.name}: expected a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    folder = str(path.resolve().parent)
    if folder not in sys.path:
        sys.path.append(folder)  # so that the file can import its neighbours, now and when it is called
    spec.loader.exec_module(module)
    return module


def _from_row(name: str, row: Callable[..., Any]) -> Callable[..., Tensor]:
    from adapool.plain import run_row
    from adapool.registry import Method
    from adapool.window import Window

    entry = Method(name, row, name, "", "")

    def call(x: Tensor, kernel_size: Any, stride: Any, padding: Any) -> Tensor:
        window = Window.make(x.dim() - 2, kernel_size, stride, padding)
        return run_row(entry, x, window, {})[0].to(x.dtype)

    return call


def _top_names(tree: ast.Module) -> set[str]:
    found: set[str] = set()
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            found.add(node.name)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            found |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found |= {target.id for target in targets if isinstance(target, ast.Name)}
    return found
