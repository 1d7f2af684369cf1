"""Which project files a module imports, directly or not, read from the source."""

import ast
from functools import lru_cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = ("pipeline", "annotations", "models", "stages")
"""In the order in which imports may point back: each may import those before it."""


def closure(module: str) -> set[str]:
    """Files, relative to the project, that run when `module` is imported or works.

    Imports inside functions count. A package's `__init__.py` that holds only a docstring does not.
    """
    found: set[str] = set()
    waiting = [module]
    while waiting:
        path = _file(waiting.pop())
        if path is not None and path not in found:
            found.add(path)
            waiting.extend(imported_modules(path))
    return {path for path in found if _has_code(path)}


@lru_cache
def imported_modules(path: str) -> tuple[str, ...]:
    """Dotted names that a file imports from the project's packages."""
    names: list[str] = []
    for node in ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.extend(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.append(node.module)
            names.extend(f"{node.module}.{alias.name}" for alias in node.names)
    inside = [name for name in names if name.split(".")[0] in PACKAGES]
    parents = [name.rpartition(".")[0] for name in inside if "." in name]
    return tuple(dict.fromkeys([*inside, *parents]))


def _file(module: str) -> str | None:
    stem = module.replace(".", "/")
    for path in (f"{stem}.py", f"{stem}/__init__.py"):
        if (ROOT / path).is_file():
            return path
    return None


def _has_code(path: str) -> bool:
    body = ast.parse((ROOT / path).read_text(encoding="utf-8")).body
    return any(not isinstance(node, ast.Expr) for node in body)
