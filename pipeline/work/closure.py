"""Which code a product depends on: the import closure of a work function, read from the source.

Imports inside functions count; those below `if TYPE_CHECKING:` never run and do not. A package's
`__init__.py` that holds only a docstring is no code.
"""

import ast
import hashlib
from collections.abc import Collection, Iterator, Mapping
from functools import lru_cache
from pathlib import Path

PROJECT = Path(__file__).parents[2]
"""Folder that holds the code and `dvc.yaml`."""

PACKAGES = ("pipeline", "annotations", "models", "stages")
"""In the order in which imports may point back: each may import those before it."""

SUPPORT: Mapping[str, str] = {
    "pipeline.errors": "words of messages; a clip that fails leaves no product",
    "pipeline.params": "reads and checks params; their values enter the key",
    "pipeline.work": "moves products and counts them; it never writes into one",
    "models.audio.download": "fetches weights; their bytes enter the key",
}
"""Modules and packages that cannot change a product, and why. They are left out of cache keys.

`pipeline.files` is not among them: the form of the tables in products is its own.
"""


def closure(module: str, without: Collection[str] = (), root: Path = PROJECT) -> frozenset[str]:
    """Files that run when `module` is imported or works.

    Args:
        module: dotted name.
        without: modules and packages that are left out, with all that only they import.
        root: folder of the packages.

    Returns:
        Paths relative to `root`, with slashes.
    """
    found: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        path = None if _within(name, without) else _file(name, root)
        if path is not None and path not in found:
            found.add(path)
            waiting.extend(imported_modules(path, root))
    return frozenset(path for path in found if _code(root / path).body)


@lru_cache
def code_digests(module: str, root: Path = PROJECT) -> Mapping[str, str]:
    """SHA-256 of the code of each file in a work function's closure, less `SUPPORT`.

    Comments, docstrings and layout do not count.

    Args:
        module: dotted name of the module that holds the work function.
        root: folder of the packages.
    """
    files = sorted(closure(module, SUPPORT, root))
    return {
        path: hashlib.sha256(ast.dump(_code(root / path)).encode()).hexdigest() for path in files
    }


@lru_cache
def imported_modules(path: str, root: Path = PROJECT) -> tuple[str, ...]:
    """Dotted names that a file imports from the project's packages."""
    names: list[str] = []
    for node in _running(_code(root / path)):
        if isinstance(node, ast.Import):
            names.extend(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.append(node.module)
            names.extend(f"{node.module}.{alias.name}" for alias in node.names)
    inside = [name for name in names if name.split(".")[0] in PACKAGES]
    parents = [name.rpartition(".")[0] for name in inside if "." in name]
    return tuple(dict.fromkeys([*inside, *parents]))


def _running(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes below `node`, without the blocks that only a type checker reads."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING"):
            continue
        yield child
        yield from _running(child)


def _within(module: str, packages: Collection[str]) -> bool:
    return any(module == name or module.startswith(f"{name}.") for name in packages)


def _file(module: str, root: Path) -> str | None:
    stem = module.replace(".", "/")
    if stem.split("/")[0] not in PACKAGES:
        return None
    for path in (f"{stem}.py", f"{stem}/__init__.py"):
        if (root / path).is_file():
            return path
    return None


@lru_cache
def _code(path: Path) -> ast.Module:
    """A file's syntax tree without docstrings."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = [one for one in node.body if not _is_string(one)]
    return tree


def _is_string(node: ast.stmt) -> bool:
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    )
