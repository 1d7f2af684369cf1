"""A saved model against the run that it was packed from, on a demo corpus of 14 short clips."""

import csv
import json
import re
import shutil
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import av
import ffmpeg
import pytest
from project_copy import ROOT, set_params
from tiny_media import make_sound
from typer.testing import CliRunner

from models.checkpoint import load_safetensors
from models.faces.weights import load_detector
from models.recognition.recognizer import Recognizer
from models.saved_model import CARD, DETECTOR, NETWORK, WORDS
from pipeline.errors import CorpusError, MediaError, ParamsError, WeightsError
from pipeline.media.ffmpeg import run_ffmpeg
from pipeline.media.images import read_gray, read_image
from pipeline.media.sound import read_wav
from pipeline.work.executors import executors_from
from stages import annotate, demo, detect, embed, embed_faces, extract, fuse, pack, resample
from stages.cli import predict
from stages.cli.app import app

SMALL = {
    "demo": {"speakers": 1, "takes": 2, "min_s": 0.6, "max_s": 0.7},
    "extract": {"frame_step": 4},
    "embed": {"networks": ["Wavegram_Logmel_Cnn14", "whisper_tiny_en"]},
    "split": {"test_per_emotion": 1},
    "detector": {
        "frames_per_clip_train": 2, "frames_per_clip": 2, "epochs": 1, "closer_epochs": 1,
    },
    "audio": {"embeddings": ["Wavegram_Logmel_Cnn14"], "epochs": 3},
    "visual": {"epochs": 3},
    "fusion": {"warmup_epochs": 1, "epochs": 1, "joint_epochs": 1, "joint_frames": 3},
    "inner_folds": {"count": 0},
    "compact": {"width": 4, "epochs": 1},
    "baselines": {"pictures": 1, "frames": 2, "frame_px": 33, "face_px": 33},
}  # fmt: skip
RUNS = {
    "av_faster_rcnn": {},
    "audio": {"system": "audio_wavegram_logmel"},
    "speech": {"system": "audio_speech"},
    "expression": {"system": "visual_expression"},
    "people": {"system": "av_people"},
    "compact": {"system": "audio_compact"},
    "image_cnn": {"system": "visual_cnn_fd"},
    "joint": {"fusion": {"joint": True}},
}
REFITTED = ("av_faster_rcnn", "speech", "people", "joint")


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """Products of the stages up to `detect`, and the packed model of each of `RUNS`."""
    folder = tmp_path_factory.mktemp("project")
    shutil.copy(ROOT / "params.yaml", folder)
    data, results = folder / "data", folder / "results"
    voc = data / "voc"
    # a thread in place of worker processes, whose start takes longer than the work
    with pytest.MonkeyPatch.context() as patch, executors_from(ThreadPoolExecutor):
        patch.chdir(folder)
        patch.setenv("AVEMO_WORKERS", "1")
        set_params(folder, SMALL)
        clips = data / "clips.csv"
        demo.main(data / "demo")
        extract.main(
            clips, data / "quarantine.csv", voc / "JPEGImages", data / "audio", data / "truth"
        )
        resample.main(data / "audio", clips, data / "audio32k")
        annotate.main(
            voc / "JPEGImages", clips, data / "truth", data / "corrections", voc / "Annotations",
            voc / "labelmap.txt", voc / "SHA256SUMS", data / "speech.csv",
            data / "annotation_metrics.json",
        )  # fmt: skip
        embed.main(data / "audio32k", clips, data / "embeddings")
        detect.main(voc, clips, data / "truth", results / "detector", data / "face_features")
        embed_faces.main(voc, data / "face_features", data / "face_embeddings")
        for name, changes in RUNS.items():
            shutil.copy(ROOT / "params.yaml", folder)
            set_params(folder, SMALL)
            set_params(folder, changes)
            shutil.copytree(results / "detector", folder / name / "detector")
            fuse.main(data, folder / name)
            pack.main(data, folder / name, folder / name / "model")
            if name in REFITTED:
                set_params(folder, {"pack": {"clips": "all"}})
                pack.main(data, folder / name, folder / name / "refitted")
    return folder


def recording(project, clip_id):
    speaker, name = clip_id.split("_")
    return project / "data/demo/AudioVisualClip" / speaker / f"{name}.avi"


def rows(project, name):
    with (project / name / "predictions.csv").open(encoding="utf-8") as stream:
        found = list(csv.DictReader(stream))
    return [row for row in found if row["branch"] == found[0]["branch"]]


@pytest.mark.parametrize("name", RUNS)
def test_a_test_clip_gets_its_row_of_the_predictions(project, name):
    recognizer = Recognizer.load(project / name / "model")
    for row in rows(project, name)[:3]:
        answer = recognizer.predict(recording(project, row["clip_id"]))
        expected = {k.removeprefix("p_"): float(v) for k, v in row.items() if k.startswith("p_")}
        assert answer.probabilities == pytest.approx(expected, abs=1e-4)
        assert answer.emotion == row["predicted"]
        assert answer.branch == row["branch"] and len(answer.windows) == 1


def test_a_jointly_trained_model_looks_with_the_detector_that_it_trained(project):
    (before,) = (project / "results/detector").glob("*.safetensors")
    model = project / "joint/model"
    state, facts = load_safetensors(model / DETECTOR)
    old, about = load_safetensors(before)
    assert facts == about and state.keys() == old.keys()
    assert not any(name.startswith("detector.") for name in load_safetensors(model / NETWORK)[0])
    clip = recording(project, rows(project, "joint")[0]["clip_id"])
    recognizer = Recognizer.load(model)
    answer = recognizer.predict(clip)
    assert len(answer.faces) == SMALL["detector"]["frames_per_clip"]
    audio = {name: one for name, one in recognizer.audio_blocks.items() if one}
    other = Recognizer(recognizer.card, recognizer.network, load_detector(before), audio)
    assert other.predict(clip).faces != answer.faces


@pytest.mark.parametrize("name", REFITTED)
def test_a_model_of_every_clip_has_learned_from_all_and_has_the_scores_of_the_folds(project, name):
    folds, every = (Recognizer.load(project / name / kind) for kind in ("model", "refitted"))
    tested = {row["clip_id"] for row in rows(project, name)}
    assert tested.isdisjoint(folds.card.training_clips)
    assert set(every.card.training_clips) == tested.union(folds.card.training_clips)
    assert every.card.metrics == folds.card.metrics and every.card.metrics.clips == len(tested)
    if every.detector:
        about = load_safetensors(project / name / "refitted" / DETECTOR)[1]
        assert json.loads(about["trained_on"]) == list(every.card.training_clips)
    clip = recording(project, sorted(tested)[0])
    one, other = (model.predict(clip).probabilities for model in (folds, every))
    assert one.keys() == other.keys() and one != other


def test_the_card_in_words_says_whose_scores_these_are(project):
    told = {k: (project / "speech" / k / WORDS).read_text() for k in ("model", "refitted")}
    assert "this network is the first fold's" in told["model"]
    assert "networks of its kind that each left out" in told["refitted"]
    for text in told.values():
        assert "drawn faces and synthetic voices" in text and "| WA, % [95%] |" in text
        card = Recognizer.load(project / "speech/model").card
        table = [line for line in text.splitlines() if line.split(" | ")[0][2:] in card.emotions]
        counts = [[int(n) for n in re.findall(r"\d+", line)] for line in table]
        assert tuple(map(tuple, counts)) == card.metrics.confusion


@pytest.fixture
def moved(project, tmp_path, monkeypatch):
    """A copy of the model elsewhere; nothing of the project is in reach."""
    monkeypatch.chdir(tmp_path)
    return Path(shutil.copytree(project / "av_faster_rcnn/model", tmp_path / "elsewhere"))


def test_a_moved_model_says_what_is_missing_and_asks_the_other_branch(project, moved, tmp_path):
    recognizer = Recognizer.load(moved)
    heard = recognizer.predict(make_sound(tmp_path / "voice.wav", 0.6))
    assert heard.branch == "audio" and heard.face_share is None
    assert heard.notes == ("no picture: answered by the audio branch",)
    clip = recording(project, rows(project, "av_faster_rcnn")[0]["clip_id"])
    run_ffmpeg(ffmpeg.input(str(clip)).output("silent.avi", an=None, c="copy"), tmp_path, "clip")
    watched = recognizer.predict(tmp_path / "silent.avi")
    assert watched.branch == "visual"
    assert watched.notes == ("no sound: answered by the visual branch",)
    with pytest.raises(
        MediaError, match=r"voice\.wav: no picture, and visual_cnn_fd cannot answer"
    ):
        Recognizer.load(project / "image_cnn/model").predict(tmp_path / "voice.wav")
    answer, looked_through = recognizer.predict(clip), recognizer.predict(clip, over_time=True)
    assert looked_through.probabilities == answer.probabilities and not answer.timeline
    assert looked_through.timeline[0].probabilities == pytest.approx(answer.probabilities)
    faces = looked_through.faces
    assert len(faces) > 2 and [f.time_s for f in faces] == sorted(f.time_s for f in faces)
    x1, y1, x2, y2 = next(face.box for face in faces if face.box)
    assert 0 <= x1 < x2 <= 320 and 0 <= y1 < y2 <= 256


def test_the_command_answers_what_it_can(project, moved, tmp_path):
    clip = recording(project, rows(project, "av_faster_rcnn")[0]["clip_id"])
    (tmp_path / "bad.mp4").write_bytes(b"no recording")
    arguments = ["predict", str(tmp_path / "bad.mp4"), str(clip), "--model", str(moved)]
    done = CliRunner().invoke(app, [*arguments, "--json"])
    assert done.exit_code == 1 and "bad.mp4: not a recording" in done.stderr
    (answer,) = json.loads(done.stdout)
    assert answer["file"] == str(clip) and sum(answer["probabilities"].values()) > 0.999
    done = CliRunner().invoke(app, ["predict", str(clip), "--model", str(moved), "--csv"])
    assert done.exit_code == 0
    assert next(csv.DictReader(done.stdout.splitlines()))["emotion"] == answer["emotion"]


def film(path, size, rate_hz, seconds):
    picture = ffmpeg.input(f"testsrc2=s={size}:r={rate_hz}:d={seconds}", f="lavfi")
    tone = ffmpeg.input(f"sine=sample_rate=16000:duration={seconds}", f="lavfi")
    coding = {"c:v": "mjpeg", "c:a": "pcm_s16le"}
    run_ffmpeg(ffmpeg.output(picture, tone, path.name, **coding), path.parent, "film")
    return path


def test_windows_share_frames_and_sound_out_and_their_mean_is_the_answer(
    project, tmp_path, monkeypatch
):
    clip = film(tmp_path / "long.avi", "96x96", 8, 2.5)
    recognizer = Recognizer.load(project / "audio/model")
    card = recognizer.card
    pack_params = card.inputs.pack.model_copy(update={"window_s": 1.0})
    recognizer.card = card.model_copy(
        update={"inputs": card.inputs.model_copy(update={"pack": pack_params})}
    )
    heard = []

    def read(path, start, stop):
        heard.append((start, stop))
        return read_wav(path, start, stop)

    monkeypatch.setattr("models.recognition.windows.read_wav", read)
    answer = recognizer.predict(clip)
    assert heard == [(0, 13333), (13333, 26667), (26667, 40000)]
    assert [round(w.end_s, 2) for w in answer.windows] == [0.83, 1.67, 2.5]
    assert "mean of 3 windows" in answer.notes
    for emotion, p in answer.probabilities.items():
        assert p == pytest.approx(sum(w.probabilities[emotion] for w in answer.windows) / 3)


def test_no_more_than_a_window_of_a_long_recording_lies_in_memory(project, tmp_path, monkeypatch):
    clip = film(tmp_path / "long.avi", "96x96", 5, 180)
    recognizer = Recognizer.load(project / "image_cnn/model")
    window_s = recognizer.card.inputs.pack.window_s
    monkeypatch.setattr(recognizer, "branch", lambda *_: ("visual", ()))  # no face: grey crops
    held = Held()
    monkeypatch.setattr("models.recognition.faces.read_gray", held.watch(read_gray))
    monkeypatch.setattr("models.recognition.inputs.read_image", held.watch(read_image))
    answer = recognizer.predict(clip, over_time=True)
    assert len(answer.windows) == 180 / window_s and held.total > 220
    frames_of_a_window = window_s * 5 / recognizer.card.inputs.extract.frame_step
    assert held.most <= 2 * frames_of_a_window + 2
    assert len(answer.faces) == 225 and answer.duration_s == pytest.approx(180, abs=0.2)


class Held:
    """Counts the pictures that are in memory."""

    def __init__(self):
        self.now = self.most = self.total = 0

    def watch(self, read):
        def reader(path):
            picture = read(path).view()
            self.now, self.total = self.now + 1, self.total + 1
            self.most = max(self.most, self.now)
            weakref.finalize(picture, self.drop)
            return picture

        return reader

    def drop(self):
        self.now -= 1


def test_the_annotated_video_shows_every_frame_and_keeps_the_sound(project, moved, tmp_path):
    clip = recording(project, rows(project, "av_faster_rcnn")[0]["clip_id"])
    command = ["predict", str(clip), "--model", str(moved), "--video"]
    done = CliRunner().invoke(app, [*command, str(tmp_path / "shown.mp4")])
    assert done.exit_code == 0, done.stderr
    with av.open(str(clip)) as source, av.open(str(tmp_path / "shown.mp4")) as shown:
        assert shown.streams.video[0].codec_context.name == "h264"
        assert shown.streams.video[0].frames == source.streams.video[0].frames
        length_s = float(shown.streams.audio[0].duration * shown.streams.audio[0].time_base)
        assert length_s == pytest.approx(source.duration / 1e6, abs=0.1)
    done = CliRunner().invoke(app, [*command, str(tmp_path / "shown.avi")])
    assert "expected a name that ends in .mp4, or a folder" in str(done.exception)


def test_places_for_several_videos(tmp_path):
    for name in ("x/a.avi", "y/a.avi"):
        make_sound((tmp_path / name).with_suffix(".wav"))
    named = predict._recordings([tmp_path])
    out = tmp_path / "videos"
    assert set(predict._videos(named, out).values()) == {out / "x/a.mp4", out / "y/a.mp4"}
    with pytest.raises(MediaError, match="got 2 recordings, expected a folder"):
        predict._videos(named, tmp_path / "one.mp4")
    with pytest.raises(MediaError, match=r"2 recordings would be written to .*a\.mp4"):
        predict._videos(predict._recordings(sorted(tmp_path.rglob("a.wav"))), out)
    with pytest.raises(
        MediaError, match=r"^https://example\.org/clip\.mp4: got an address, expected a file"
    ):
        predict._recordings([Path("https://example.org/clip.mp4")])
    for name in ("a.wav", "._a.wav", ".trash/b.wav", "__MACOSX/c.wav", "notes.txt"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).touch()
    assert predict._recordings([tmp_path / "in"]) == {tmp_path / "in/a.wav": Path("a.wav")}


def change_card(folder, **values):
    card = json.loads((folder / CARD).read_text())
    (folder / CARD).write_text(json.dumps(card | values))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: change_card(f, schema_version=99), "version 99, expected 3"),
        (
            lambda f: change_card(f, emotions=["fear", "fear"]),
            "expected two emotions or more, each once",
        ),
        (lambda f: change_card(f, system="av_new"), "system av_new is unknown"),
        (lambda f: change_card(f, emotions=["fear", "anger"]), "not in the order of network"),
        (
            lambda f: change_card(f, widths={"emotions": 3, "audio": [2], "faces": 4}),
            "not the weights",
        ),
        (lambda f: change_card(f, joke=1), "not the card of a model"),
        (lambda f: (f / CARD).write_text("{"), "not the card of a model"),
        (lambda f: (f / CARD).unlink(), "no such file; run `dvc repro pack`"),
        (lambda f: (f / DETECTOR).unlink(), "detector.safetensors: missing from the model"),
        (lambda f: (f / NETWORK).write_bytes(b"x"), "network.safetensors: sha256 differs"),
    ],
)
def test_a_damaged_model_is_one_clear_line(moved, damage, message):
    damage(moved)
    with pytest.raises(WeightsError, match=message):
        Recognizer.load(moved)


def test_what_pack_cannot_do_is_refused(project, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "params.yaml", tmp_path)
    set_params(tmp_path, {"pack": {"clips": "some"}})
    with pytest.raises(ParamsError, match=r"pack\.clips: got 'some'.*'fold'"):
        pack.main(project / "data", project / "audio", tmp_path / "model")
    set_params(tmp_path, {"pack": {"clips": "fold"}})
    with pytest.raises(CorpusError, match="no results yet; run `dvc repro`"):
        pack.main(project / "data", tmp_path, tmp_path / "model")
