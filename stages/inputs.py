"""Stage `inputs`: validate the whole of `params.yaml`, and note what the files that it names hold.

DVC cannot depend on a file that only some values of a key name, and it removes the outputs of a
stage before the stage can refuse a misspelt key. So this stage runs first, at every `dvc repro`,
and the others depend on what it writes: `embed.json`, `detector.json` and `faces.json` in
`data/inputs`, which hold the SHA-256 of each file of weights that the user named, and
`corpus.json`, which only puts the other stages behind this one. None changes with any other value
of `params.yaml`. For the same reason it refuses annotations that were edited where `annotate` would
overwrite them, and what lies in the corpus that DVC could not write down or would wait for.
"""

import time
from pathlib import Path

from annotations.corrections import require_unedited
from pipeline.errors import ParamsError
from pipeline.files import file_digest, write_json
from pipeline.work.progress import counted, print_summary
from stages.boundary import run
from stages.cli.check import entry_findings, read_named, require_valid, settings_findings
from stages.cli.weight_files import (
    WeightFile,
    detector_weights,
    embedding_weights,
    expression_weights,
    unavailable,
)

VOC = Path("data/voc")
"""As in `dvc.yaml`."""


def main(corpus: Path, embed: Path, detector: Path, faces: Path) -> None:
    """Validate params.yaml; note what the files that it names hold.

    Published weights are not looked for: a run whose embeddings are there needs none.
    """
    started = time.monotonic()
    require_valid()
    require_unedited(VOC / "Annotations", VOC / "SHA256SUMS")
    named = read_named()
    embed_files = [file for file in embedding_weights(named.embed) if not file.url]
    face_files = expression_weights(named.faces)
    detector_files = []
    found = [*settings_findings(named), *entry_findings(named.corpus.root)]
    if not found:
        detector_files = [file for file in detector_weights(named.detector) if not file.url]
        found = unavailable([*embed_files, *detector_files, *face_files], patience_s=0)
    if found:
        raise ParamsError("; ".join(found))
    write_json(corpus, {"name": named.corpus.name})
    write_json(embed, _digests(embed_files))
    write_json(detector, _digests(detector_files))
    write_json(faces, _digests(face_files))
    files = len(embed_files) + len(detector_files) + len(face_files)
    print_summary("inputs", f"params.yaml is valid, {counted(files, 'file')} of weights", started)


def _digests(files: list[WeightFile]) -> dict[str, object]:
    return {file.name: file_digest(file.found) for file in files if file.found}


if __name__ == "__main__":
    run(main)
