"""The number of worker processes and of the machine's cores changes no result."""

import os

from drawn_faces import TINY, write_voc
from project_copy import tree

from models.faces.folds import DetectPaths, detect
from pipeline.splits import Fold

CLIPS = ("S0_c00", "S0_c01", "S1_c02", "S1_c03")


def test_one_worker_and_three_write_the_same_bytes(tmp_path, monkeypatch):
    records = write_voc(tmp_path)
    (tmp_path / "truth").mkdir()
    folds = [Fold(f"f{i}", CLIPS[:i] + CLIPS[i + 1 :], (CLIPS[i],)) for i in range(3)]
    params = TINY.model_copy(update={"threads": 2, "score_threshold": 0.0})
    written = []
    for workers, environment in ((1, "1"), (3, "3")):
        for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
            monkeypatch.setenv(name, environment)
        monkeypatch.setenv("AVEMO_WORKERS", str(workers))
        monkeypatch.setenv("AVEMO_CACHE", str(tmp_path / f"cache{workers}"))
        out = tmp_path / f"out{workers}"
        paths = DetectPaths(tmp_path / "voc", tmp_path / "truth", out / "results", out / "faces")
        detect(paths, records, folds, (), params)
        assert os.environ["OMP_NUM_THREADS"] == environment
        written.append(tree(out))
    assert len(written[0]) == 9
    assert written[0] == written[1]
