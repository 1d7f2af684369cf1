import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from project_copy import ROOT
from torch import nn

from models.checkpoint import save_safetensors
from models.fusion.pool import fit_pool
from models.resumption import Checkpoint
from models.systems import evaluate
from models.systems.evaluate import (
    Outcome,
    gather,
    gather_asked,
    mean_weights,
    run_folds,
    scratch_of_run,
)
from models.systems.inputs import Store
from models.systems.params import Settings, Widths
from pipeline.clips import ClipRecord
from pipeline.errors import CorpusError, TrainingError
from pipeline.presets import preset_values
from pipeline.scores.predictions import write_predictions
from pipeline.splits import Fold, InnerFoldParams, all_inner_folds
from pipeline.work.scratch import scratch_at


@pytest.fixture
def store():
    emotions = {"a": "anger", "b": "fear", "c": "anger"}
    records = [
        ClipRecord(clip_id, "S", emotion, "", 4, 25.0, 1, 8, 8, 9, 9)
        for clip_id, emotion in emotions.items()
    ]
    return Store(tuple(records), Path("data"), Path("detector"))


def outcome(name, train, test, p):
    answers = {"audio": np.array(p)}
    return Outcome(
        Fold(name, train, test), nn.Identity(), Widths(2), {}, False, test, answers, answers, []
    )


def test_folds_are_joined_by_clip_id(store):
    first = outcome("1", ("c",), ("b", "a"), [[0.2, 0.8], [0.6, 0.4]])
    second = outcome("2", ("a", "b"), ("c",), [[0.3, 0.7]])
    found = gather([first, second], store)["audio"]
    assert found.keys == (("1", "b"), ("1", "a"), ("2", "c"))
    assert found.emotion.tolist() == [1, 0, 0] and found.predicted.tolist() == [1, 0, 1]


@pytest.mark.parametrize("calibrated", [0, 1])
def test_weights_are_those_of_the_folds_that_could_be_calibrated(calibrated):
    folds = [outcome(name, ("c",), ("b",), [[0.2, 0.8]]) for name in "12"]
    folds[calibrated] = replace(folds[calibrated], pools={"av": {"av": 0.5, "audio": 0.25}})
    assert mean_weights(folds) == {"av": 0.5, "audio": 0.25}


def test_other_clips_than_the_test_clips_are_refused(store):
    good = outcome("1", ("c",), ("b", "a"), [[0.2, 0.8], [0.6, 0.4]])
    with pytest.raises(CorpusError, match=r"fold 1: .* not of its 2 test clips"):
        gather([replace(good, clip_ids=("a", "b"))], store)
    short = {"audio": good.probabilities["audio"][:1]}
    with pytest.raises(CorpusError, match=r"fold 1: \[1\] predictions of 2 clips"):
        gather([replace(good, probabilities=short)], store)


def test_clips_without_a_label_are_answered_and_those_without_sound_are_not(tmp_path, caplog):
    kinds = {"t": "joy", "u": "bored", "deaf": "joy", "what": "", "deaf-what": ""}
    records = []
    for name, emotion in kinds.items():
        for number in range(9 if emotion else 1):
            clip_id, sounds = f"{name}{number}", not name.startswith("deaf")
            place = 0 if emotion == "joy" else 1  # the user's order is not the alphabet's
            size = (4, 25.0, 1, 8, 8, 9 * sounds, 9 * sounds)
            records.append(ClipRecord(clip_id, "S", emotion, "", *size, place))
            if sounds:
                value = torch.tensor([2.0 * place + 0.1 * number, float(number % 4)])
                path = tmp_path / f"embeddings/{clip_id}.safetensors"
                save_safetensors(path, {"whisper_tiny_en": value})
    store = Store(tuple(records), tmp_path, tmp_path)
    ids = sorted(record.clip_id for record in records if record.emotion)
    test = ("deaf0", "t0", "u0")
    train = tuple(i for i in ids if i not in test)
    fold = Fold("f", train, test, ("deaf-what0", "what0"))
    settings = Settings.load(preset_values("demo", ROOT / "presets"))
    outcomes = run_folds("audio_speech", store, [fold], settings)
    assert "audio_speech reads 19 of 29 clips" in caplog.text
    assert outcomes[0].fold.asked == ("what0",) and len(outcomes[0].fold.train) == 16
    found, asked = (of(outcomes, store)["audio"] for of in (gather, gather_asked))
    assert found.emotions == ("joy", "bored") and found.clip_id == ("t0", "u0")
    assert asked.clip_id == ("what0",) and asked.emotion.tolist() == [-1]
    assert asked.probabilities == pytest.approx(found.probabilities[1:])  # the sound of u0
    write_predictions(tmp_path / "asked.csv", {"audio": asked})
    assert "audio,f,what0,S,,,bored," in (tmp_path / "asked.csv").read_text()


def tiny_corpus(folder, values, speakers):
    """Clips `e<number>`, of two emotions in turn, with one embedding each."""
    records = []
    for number, (value, speaker) in enumerate(zip(values, speakers, strict=True)):
        emotion = ("joy", "bored")[number % 2]
        records.append(ClipRecord(f"e{number}", speaker, emotion, "", 0, 0, 1, 0, 0, 9, 9))
        path = folder / f"embeddings/e{number}.safetensors"
        save_safetensors(path, {"whisper_tiny_en": torch.tensor(value)})
    return Store(tuple(records), folder, folder)


def test_one_speaker_one_clip_a_class_and_a_constant_feature_still_give_an_answer(tmp_path, caplog):
    values = [[0.0, 4.2], [1.0, 4.2], [0.1, 4.2], [0.9, -4.2]]
    store = tiny_corpus(tmp_path, values, ("S", "S", "T", "T"))
    settings = Settings.load(preset_values("demo", ROOT / "presets"))
    fold = Fold("f", ("e0", "e1"), ("e2", "e3"))
    (found,) = run_folds("audio_speech", store, [fold], settings)
    assert "fold f: no part of its training clips can be held out" in caplog.text
    answers = gather([found], store)["audio"]
    assert answers.predicted.tolist() == answers.emotion.tolist()
    assert np.isfinite(answers.probabilities).all()


def test_an_answer_that_is_not_finite_is_refused_by_clip(tmp_path):
    store = tiny_corpus(tmp_path, [[0.0], [1.0], [0.5], [math.nan]], "STST")
    settings = Settings.load(preset_values("demo", ROOT / "presets"))
    with pytest.raises(TrainingError, match=r"^e3: the answer of branch audio is not finite"):
        run_folds("audio_speech", store, [Fold("f", ("e0", "e1"), ("e2", "e3"))], settings)


def two_folds(tmp_path):
    """A corpus of nine clips, settings of a small network over its sound, and two folds."""
    store = tiny_corpus(tmp_path, [[float(n % 2), n / 9] for n in range(9)], "SSSTTTUUU")
    for number in range(9):
        value = {"Cnn14": torch.tensor([number % 2, number / 9.0])}
        save_safetensors(tmp_path / f"embeddings/e{number}.safetensors", value)
    values = preset_values("demo", ROOT / "presets")
    values["audio"] |= {"epochs": 3, "handcrafted": False}
    ids = [record.clip_id for record in store.records]
    folds = [Fold(name, tuple(i for i in ids if i not in out), out) for name, out in (
        ("f", ("e0", "e1")), ("g", ("e3", "e4")))]  # fmt: skip
    return store, Settings.load(values), folds


def test_a_run_that_was_killed_goes_on_where_it_was(tmp_path, monkeypatch):
    store, settings, folds = two_folds(tmp_path)
    (whole, kept), left = (run_folds("audio_cnn", store, folds, settings), {}), iter(range(4))

    def saved(checkpoint, training, progress, save=Checkpoint.save):
        save(checkpoint, training, progress)
        kept.setdefault(checkpoint.path.name, []).append(len(progress.means))
        if next(left, None) is not None:
            raise KeyboardInterrupt

    monkeypatch.setattr(evaluate, "WORTH_KEEPING_S", 0.0)
    monkeypatch.setattr(Checkpoint, "save", saved)
    monkeypatch.setenv("AVEMO_WORKERS", "1")  # else saved() would not be heard of
    monkeypatch.setenv("AVEMO_CACHE", str(tmp_path / "cache"))
    state = scratch_of_run("audio_cnn", store, folds, settings)
    for _ in range(4):
        with pytest.raises(KeyboardInterrupt), scratch_at(state):
            run_folds("audio_cnn", store, folds, settings)
    with scratch_at(state):
        resumed = run_folds("audio_cnn", store, folds, settings)
    assert not state.exists() and kept["f.0"] == kept["g.0"] == [1, 2, 3]
    for one, other in zip(whole, resumed, strict=True):
        assert one.history == other.history
        for name, value in one.network.state_dict().items():
            assert torch.equal(value, other.network.state_dict()[name]), name
    (tmp_path / "embeddings/e0.safetensors").touch()
    assert scratch_of_run("audio_cnn", store, folds, settings) != state


def test_folds_beside_each_other_give_the_same(tmp_path, monkeypatch):
    store, settings, folds = two_folds(tmp_path)
    found = []
    for workers in ("1", "2"):
        monkeypatch.setenv("AVEMO_WORKERS", workers)
        found.append(run_folds("audio_cnn", store, folds, settings))
    for one, other in zip(*found, strict=True):
        assert one.fold == other.fold and one.history == other.history
        assert one.probabilities.keys() == other.probabilities.keys()
        for branch, p in one.probabilities.items():
            np.testing.assert_array_equal(p, other.probabilities[branch])
        for name, value in one.network.state_dict().items():
            assert torch.equal(value, other.network.state_dict()[name]), name
    (tmp_path / "embeddings/e8.safetensors").unlink()
    with pytest.raises(CorpusError, match=r"e8\.safetensors: no embedding of this clip"):
        run_folds("audio_cnn", store, folds, settings)


def test_a_clip_without_a_face_is_answered_by_sound(tmp_path):
    numbers = torch.Generator().manual_seed(0)
    records, faces, speech = [], {}, "clip_id,frame,speech\n"
    for number in range(12):
        clip_id, emotion = f"e{number:02d}", ("joy", "bored")[number % 2]
        records.append(ClipRecord(clip_id, "ST"[number // 6], emotion, "", 2, 25.0, 1, 8, 8, 9, 9))
        names = ("Wavegram_Cnn14", "Wavegram_Logmel_Cnn14", "mfcc", "log_mfcc")
        sound = {name: torch.randn(4, generator=numbers) for name in names}
        save_safetensors(tmp_path / f"embeddings/{clip_id}.safetensors", sound)
        seen = float(number != 1)
        faces[f"{clip_id}/features"] = seen * torch.randn(2, 5, generator=numbers)
        faces[f"{clip_id}/scores"] = torch.full((2,), seen)
        faces[f"{clip_id}/frames"] = torch.arange(2)
        speech += f"{clip_id},0,0.5\n{clip_id},1,0.5\n"
    (tmp_path / "speech.csv").write_text(speech)
    ids = tuple(record.clip_id for record in records)
    folds = [Fold("f", ids[4:], ids[:4])]
    values = preset_values("demo", ROOT / "presets")
    store, inner = Store(tuple(records), tmp_path, tmp_path), values["inner_folds"]
    for fold in (*folds, *all_inner_folds(records, folds, InnerFoldParams.model_validate(inner))):
        save_safetensors(tmp_path / f"face_features/{fold.name}.safetensors", faces)
    (found,) = run_folds("av_faster_rcnn", store, folds, Settings.load(values))
    for p in (found.probabilities, found.as_trained):
        alike = (p["av"] == p["audio"]).all(axis=1)
        assert alike.tolist() == [False, True, False, False]
    assert found.faceless == ("e01",)


def test_a_pool_is_fitted_on_the_clips_that_it_answers(store, monkeypatch):
    """Where no face is seen, the answer is that of the sound alone."""
    generator = torch.Generator().manual_seed(0)
    records = tuple(replace(store.records[0], clip_id=f"c{n:03d}", emotion=("anger", "fear")[n % 2])
                    for n in range(200))  # fmt: skip
    store, truth = replace(store, records=records), torch.arange(200) % 2
    faceless, right = torch.arange(200) < 100, torch.eye(2)[truth]
    noise = {b: torch.randn(200, 2, generator=generator) for b in ("av", "audio", "visual")}
    sure = {"av": torch.where(faceless, 0.0, 3.0), "audio": torch.full((200,), 1.0),
            "visual": torch.where(faceless, 0.0, 1.0)}  # fmt: skip
    scores = {b: (sure[b][:, None] * right + noise[b]).log_softmax(1) for b in sure}
    ids = tuple(record.clip_id for record in records)
    scored = evaluate._Scored(nn.Identity(), Widths(2), ids, scores, faceless)
    monkeypatch.setattr(evaluate, "_train_and_score", lambda *args: scored)
    values = preset_values("demo", ROOT / "presets")
    values["fusion"]["pool"] = True
    fold = Fold("f", (), ids)
    pools = evaluate._fit_pools("av_faster_rcnn", store, [fold], Settings.load(values))
    seen = ~faceless
    assert pools["av"] == fit_pool({b: one[seen] for b, one in scores.items()}, truth[seen])
    assert pools["av"]["av"] > pools["av"]["audio"]


def test_two_branches_that_each_exclude_what_the_other_is_sure_of_have_a_sum():
    certain = {"audio": np.array([[1.0, 0.0, 0.0]]), "visual": np.array([[0.0, 1.0, 0.0]])}
    assert evaluate._product(certain) == pytest.approx(np.array([[0.5, 0.5, 0.0]]))
