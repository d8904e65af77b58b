"""One's own operator: where it is, whether it is there, and how it becomes a callable. README says what it may be.

A function whose first parameter is called `region` is a row, and its further parameters need defaults; any other takes
x, kernel_size, stride and padding, the three as tuples of one int per axis. A tuple around a function's tensor is
refused: what else it holds would be timed, and counted as memory, but is no pooled tensor.
"""

from __future__ import annotations

import ast
import importlib.util
import inspect
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

GROUP = "adapool.methods"
Sizes = tuple[int, ...]


@dataclass(frozen=True)
class Own:
    """An own operator, loaded; `over` makes it callable."""

    name: str
    function: Callable[..., Any]
    is_row: bool
    oracle: str | None

    def over(self, kernel: Sizes, stride: Sizes, padding: Sizes) -> Callable[[Tensor], Tensor]:
        """The operator under one window, as `call(x)`: TypeError, which says what came, when it gives no tensor."""
        return (self._row if self.is_row else self._whole)(kernel, stride, padding)

    def _whole(self, kernel: Sizes, stride: Sizes, padding: Sizes) -> Callable[[Tensor], Tensor]:
        from torch import Tensor

        from adapool.window import Window

        function = self.function

        def call(x: Tensor) -> Tensor:
            y = function(x, kernel, stride, padding)
            if isinstance(y, Tensor):  # all that is looked at inside the timed window; the verifier sees the rest
                return y
            shape = (*x.shape[:2], *Window(kernel, stride, padding).output(x.shape[2:]))
            held = isinstance(y, (tuple, list)) and len(y) > 0 and isinstance(y[0], Tensor)
            remedy = "; return y alone" if held else ""
            raise TypeError(f"{self.name}: expected a Tensor of shape {shape}, got {_came(y)}{remedy}")

        return call

    def _row(self, kernel: Sizes, stride: Sizes, padding: Sizes) -> Callable[[Tensor], Tensor]:
        from torch import Tensor

        from adapool.plain import run_row
        from adapool.registry import Method
        from adapool.window import Window

        function = self.function

        def row(region: Any) -> tuple[Tensor, Tensor | None]:
            given = function(region)
            y, weights = given if isinstance(given, tuple) and len(given) == 2 else (given, None)
            if isinstance(y, Tensor) and y.is_floating_point() and (weights is None or isinstance(weights, Tensor)):
                return y, weights
            wanted = f"a floating-point Tensor of shape {tuple(region.values.shape[:-1])}"
            raise TypeError(f"{self.name}: expected {wanted}, alone or in a tuple with the weights, got {_came(given)}")

        entry, window = Method(self.name, row, self.name, "", ""), Window(kernel, stride, padding)
        return lambda x: run_row(entry, x, window, {})[0].to(x.dtype)


def every(asked: str) -> tuple[str, ...]:
    """`path.py:*` as a name for each public function that the file defines; any other as it is."""
    path, _, name = asked.rpartition(":")
    if name != "*" or not path:
        return (asked,)
    defined = [own for own, node in _defined(path).items() if _is_function(node) and not own.startswith("_")]
    if not defined:
        raise ValueError(f"method: expected a file that defines functions, got {path!r}, which defines none in public")
    return tuple(f"{path}:{own}" for own in defined)


def find(asked: str, what: str = "method") -> tuple[str, str] | None:
    """(name, where it is) when `asked` names an own operator; None when it is no such name. Runs no code of it.

    ValueError, about `what`, when it looks like a file but the file or the function is not there.
    """
    path, colon, name = asked.rpartition(":")
    if not colon:
        if asked.endswith(".py") or "/" in asked:
            raise ValueError(f"{what}: expected path/to/file.py:name, got {asked!r} without a name")
        return (asked, f"entry:{asked}") if asked in entries() else None
    if Path(path).is_file() and not re.fullmatch(r"[A-Za-z_]\w*", name):
        raise ValueError(f"{what}: expected a function's name after the colon, got {name!r}")
    defined = _defined(path, what)
    if name not in defined:
        imported = (ast.Import, ast.ImportFrom)
        own = [n for n, node in defined.items() if not n.startswith("_") and not isinstance(node, imported)]
        known = ", ".join(sorted(own)) or "nothing"
        raise ValueError(f"{what}: expected a function of {path}, got {name!r}; it defines {known}")
    return name, asked


def is_compiled(where: str) -> bool:
    """Whether the operator is declared as a method with a kernel, `@method(..., kernel=...)`. Runs no code of it."""
    path, _, name = where.rpartition(":")
    if path == "entry":
        return False
    node = _defined(path).get(name)
    calls = node.decorator_list if isinstance(node, ast.FunctionDef) else []
    return any(isinstance(call, ast.Call) and "kernel" in {word.arg for word in call.keywords} for call in calls)


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
    return Own(name, found, first == "region", getattr(found, "oracle", None))


def _module(path: Path) -> Any:
    return _run(path, path.stat().st_mtime_ns)


@cache
def _run(path: Path, changed: int) -> Any:
    """The file's code run once, for it may declare methods: again only where it was changed since."""
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


def _came(given: Any) -> str:
    """What an operator returned, in a few words: `a tuple of 2: Tensor, float`."""
    if given is None:
        return "None"
    kind = next((kind.__name__ for kind in (tuple, list) if isinstance(given, kind)), None)
    if kind is None:
        return f"{'an' if _kind(given)[0] in 'aeiou' else 'a'} {_kind(given)}"
    parts = ", ".join(_kind(part) for part in given[:4]) + ", ..." * (len(given) > 4)
    return f"a {kind} of {len(given)}" + (f": {parts}" if parts else "")


def _kind(given: Any) -> str:
    from torch import Tensor

    if isinstance(given, Tensor) and not given.is_floating_point():
        return f"Tensor of {str(given.dtype).removeprefix('torch.')}"
    return "None" if given is None else type(given).__name__


def _is_function(node: ast.stmt) -> bool:
    """As far as one sees without running it: a lambda counts, and what a call gives, but of a class, `Operand()`."""
    if not isinstance(node, ast.Assign):
        return isinstance(node, ast.FunctionDef)
    if not isinstance(node.value, ast.Call):
        return isinstance(node.value, ast.Lambda)
    called = ast.unparse(node.value.func).rpartition(".")[2]
    return not called[:1].isupper()


def _defined(path: str, what: str = "method") -> dict[str, ast.stmt]:
    """What a file's own names stand for, in its order; ValueError where it cannot be read."""
    if not Path(path).is_file():
        raise ValueError(f"{what}: expected a Python file before the colon, got {path!r}, which is no file")
    try:
        tree = ast.parse(Path(path).read_bytes())
    except (SyntaxError, ValueError) as error:
        raise ValueError(f"{what}: {path} is not a Python file that can be read ({error})") from None
    found: dict[str, ast.stmt] = {}
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            found[node.name] = node
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            found |= {alias.asname or alias.name: node for alias in node.names}
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found |= {target.id: node for target in targets if isinstance(target, ast.Name)}
    return found
