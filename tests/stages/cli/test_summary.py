import pytest
from fake_run import make_run

from pipeline.errors import CorpusError
from pipeline.report.run import read_run, write_run
from stages.cli.summary import summary


def test_figures_that_could_not_be_had_are_named_not_hidden(tmp_path):
    """No test frame with a face of dlib: the detector has no figures."""
    results = make_run(tmp_path)
    run = read_run(results / "run.json")
    assert "ap90 0.710  mean_iou 0.936  against dlib's boxes" in summary(results)
    assert "ap50 0.990  mean_iou 0.841  against the true boxes" in summary(results)
    after = {**run.detector, "mean_iou": 0.123, "warning": "it failed"}
    write_run(results / "run.json", run.model_copy(update={"joint_detector": after}))
    joint = summary(results).partition("after joint")[2]
    assert "ap90 0.710  mean_iou 0.123  against dlib's boxes" in joint
    assert "warning       it failed" in joint
    unknown = dict.fromkeys(("ap50", "ap75", "ap90", "mean_iou"))
    write_run(results / "run.json", run.model_copy(update={"detector": unknown}))
    text = summary(results)
    assert "ap50 n/a  ap75 n/a  ap90 n/a  mean_iou n/a  against dlib's boxes" in text
    accuracy = run.scores.branches["av"].accuracy
    assert f"fused         accuracy {accuracy:.3f} [" in text
    assert "network" not in text


def test_a_pool_is_named_as_one_beside_the_network(tmp_path):
    results = make_run(tmp_path, pool=True)
    run = read_run(results / "run.json")
    odd = run.scores.model_copy(update={"collapsed": ("loso_DC",), "ties": 9, "faceless": 3})
    write_run(results / "run.json", run.model_copy(update={"scores": odd}))
    text = summary(results)
    assert "fused (pool)  accuracy" in text
    assert "before pooling; weights: network 0.50, audio 0.50, visual 0.50" in text
    assert "warning       the pool of network and branches collapsed in fold loso_DC" in text
    assert (
        "warning       no face was found in 3 of 112 test clips: sound alone answers them" in text
    )
    assert "warning       9 of 112 test clips have more than one likeliest emotion" in text


def test_without_results_the_command_is_named(tmp_path):
    with pytest.raises(CorpusError, match="run `dvc repro`"):
        summary(tmp_path)
