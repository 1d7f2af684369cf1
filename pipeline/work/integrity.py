"""Whether products are still, byte for byte, what the stages wrote.

DVC hashes a file again only where its size or time has changed, and so misses a byte that a disk,
a copy or a tool has changed behind both. Here each is read: `dvc.lock` says what DVC's stages
wrote, and a list of checksums stands for the frames and annotations.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from pipeline.errors import DamageError
from pipeline.files import differing_from
from pipeline.params import parse_yaml, read_params

LOCK, PIPELINE, CACHE = Path("dvc.lock"), Path("dvc.yaml"), Path(".dvc/cache/files/md5")
CHECKSUMS = Path("data/voc/SHA256SUMS")


class Product(NamedTuple):
    """What DVC noted of an output: the stage that wrote it, its path, and its MD5."""

    stage: str
    path: Path
    md5: str


class Damage(NamedTuple):
    """A product and what is wrong with it."""

    product: Product
    reason: str

    def __str__(self) -> str:
        stage, path, _ = self.product
        return (
            f"{path}: {self.reason}, not as stage `{stage}` wrote it; delete {path} and run "
            f"`dvc repro {stage}`, or, if you changed it on purpose, `dvc commit {stage}`"
        )


def products() -> list[Product]:
    """Outputs of all stages that `dvc.lock` speaks of; none where nothing has run.

    Raises:
        ParamsError: it is no YAML.
    """
    if not LOCK.is_file():
        return []
    stages = parse_yaml(LOCK.read_text(encoding="utf-8"), LOCK).get("stages", {})
    return [
        Product(name, Path(out["path"]), out["md5"])
        for name, stage in stages.items()
        for out in stage.get("outs", ())
        if "md5" in out
    ]


def damage(found: Iterable[Product]) -> Iterator[Damage]:
    """What is wrong with products; one that is not there at all is DVC's to bring."""
    for product in found:
        if not product.path.exists():
            continue
        if product.md5.endswith(".dir") != product.path.is_dir():
            yield Damage(product, "a folder in place of a file, or the other way round")
        elif product.path.is_file():
            if _md5(product.path) != product.md5:
                yield Damage(product, "damaged or changed")
        else:
            odd = _odd_file(product)
            if odd is not None:
                yield Damage(product, f"damaged or changed ({odd})")


def require_intact(stage: str) -> None:
    """Refuse to work on products that are not as they were written.

    Args:
        stage: that is about to read them, by its name in `dvc.yaml`.

    Raises:
        DamageError: a product that it reads is damaged.
    """
    written = products()
    if not written:
        return
    stages = parse_yaml(PIPELINE.read_text(encoding="utf-8"), PIPELINE)["stages"]
    deps = stages[stage].get("deps", ())
    paths = {Path(_value(dep) if dep.startswith("${") else dep) for dep in deps}
    for found in damage(one for one in written if one.path in paths):
        raise DamageError(str(found))


def require_frames(voc: Path) -> None:
    """Refuse frames and annotations that are not as `annotate` found and wrote them.

    Args:
        voc: folder of frames, annotations and their list of checksums.

    Raises:
        DamageError: a file is gone or damaged, or the list itself.
    """
    checksums = voc / CHECKSUMS.name
    try:
        odd = differing_from(checksums)
    except (OSError, ValueError) as error:
        raise DamageError(f"{checksums}: not a list of checksums ({error}); {_REMEDY}") from error
    if odd:
        raise DamageError(
            f"{voc / odd[0]}: damaged, changed or gone, as {len(odd)} of the files in {checksums} "
            f"are; {_REMEDY}"
        )


_REMEDY = "delete data/voc and run `dvc repro annotate`"


def _value(name: str) -> str:
    """What DVC puts in place of `${section.key}`."""
    section, key = name[2:-1].split(".")
    return str(read_params()[section][key])


def _odd_file(product: Product) -> str | None:
    """The first file of a folder that differs, or "its content" where DVC's list is not at hand."""
    files = sorted(path for path in product.path.rglob("*") if path.is_file())
    there = {path.relative_to(product.path).as_posix(): _md5(path) for path in files}
    if _listed_md5(there) == product.md5.removesuffix(".dir"):
        return None
    try:
        noted = json.loads((CACHE / product.md5[:2] / product.md5[2:]).read_text(encoding="utf-8"))
        listed = {entry["relpath"]: entry["md5"] for entry in noted}
    except (OSError, ValueError, KeyError, TypeError):
        return "its content"
    return min((name for name, _ in listed.items() ^ there.items()), default="its content")


def _listed_md5(digests: dict[str, str]) -> str:
    """MD5 of a folder as DVC has it: of the JSON list of its files, sorted by name."""
    listed = [{"md5": md5, "relpath": name} for name, md5 in sorted(digests.items())]
    return hashlib.md5(json.dumps(listed, sort_keys=True).encode()).hexdigest()  # noqa: S324


def _md5(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "md5").hexdigest()
