"""`extract` to `embed` on real recordings; `AVEMO_REALDATA` names their folder."""

import csv
import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import av
import pytest
import soundfile

from annotations import voc
from models.checkpoint import load_safetensors
from models.expressions.embed import embed_clip
from models.expressions.encoders import load_encoder, resolve
from models.recognition.recognizer import Recognizer
from models.saved_model import PRETRAINED
from pipeline.clips import EMOTIONS, emotions_of, evenly_spaced, frame_name, read_clips
from pipeline.media.images import read_image
from pipeline.media.sound import resampled_length
from pipeline.work.executors import executors_from
from stages import annotate, embed, extract, resample

REALDATA = os.environ.get("AVEMO_REALDATA")
pytestmark = [
    pytest.mark.realdata,
    pytest.mark.skipif(not REALDATA, reason="AVEMO_REALDATA names no folder"),
]


def real(name):
    return Path(REALDATA or "") / name


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AVEMO_WORKERS", "1")

    def run_stages(name, root, modalities="auto", method="soxr", system="av_faster_rcnn"):
        (tmp_path / "params.yaml").write_text(
            f"system: {system}\ncorpus: {{name: {name}, root: {root}, modalities: {modalities}, "
            "require: both, emotions: auto, label_source: acted}\n"
            "extract: {frame_step: 5, jpeg_quality: 2, min_duration_s: 0.1, silence_dbfs: -70, "
            "max_duration_s: 300, max_side_px: 4096, "
            f"max_bad_fraction: 0.4}}\nresample: {{method: {method}, quality: high}}\n"
            "annotate: {upsample: 0, max_side_px: 640, min_score: 0.0, second_look: true, "
            "refine: false, fill_gaps: 0, speech_smoothing_s: 0.1}\n"
            "split: {protocol: paper, test_per_emotion: 1, speaker_groups: 0, "
            "text_groups: 2, folds_csv: folds.csv, "
            "seed: 0}\n"
            "embed: {networks: [Wavegram_Logmel_Cnn14], weights: untrained, layers: [1], "
            "statistics: [mean], pause_db: 30, noisy_copies: 0, handcrafted: [mfcc], "
            "seed: 0}\n"
        )
        out = tmp_path / "data"
        extract.main(
            out / "clips.csv", out / "quarantine.csv", out / "voc/JPEGImages", out / "audio",
            out / "truth",
        )  # fmt: skip
        resample.main(out / "audio", out / "clips.csv", out / "audio32k")
        return out, read_clips(out / "clips.csv")

    with executors_from(ThreadPoolExecutor):  # a worker process takes seconds to start
        yield run_stages


def check_sound(out, records):
    for record in records:
        info = soundfile.info(out / "audio32k" / f"{record.clip_id}.wav")
        assert (info.samplerate, info.channels) == (32_000, 1)
        assert info.frames == resampled_length(record.samples, record.rate_hz)


def annotate_and_embed(out):
    voc = out / "voc"
    annotate.main(
        voc / "JPEGImages", out / "clips.csv", out / "truth", out / "corrections",
        voc / "Annotations", voc / "labelmap.txt", voc / "SHA256SUMS", out / "speech.csv",
        out / "annotation_metrics.json",
    )  # fmt: skip
    embed.main(out / "audio32k", out / "clips.csv", out / "embeddings")
    figures = json.loads((out / "annotation_metrics.json").read_text())
    assert figures["frames"] > 0 and figures["found_rate"] > 0.9
    for record in read_clips(out / "clips.csv"):
        tensors = load_safetensors(out / "embeddings" / f"{record.clip_id}.safetensors")[0]
        assert tensors["Wavegram_Logmel_Cnn14"].shape == (2048,)
        assert all(bool(tensor.isfinite().all()) for tensor in tensors.values())


def check_expressions(out):
    """A frozen encoder on the annotated faces: it answers where there is a face."""
    encoder = load_encoder(resolve("fer_mini_xception"))
    for record in read_clips(out / "clips.csv"):
        chosen = evenly_spaced(record.frames, 4)
        names = [frame_name(record.clip_id, index) for index in chosen]
        faces = [voc.read_frame(out / "voc", name).speaker_face for name in names]
        frames = [read_image(out / "voc/JPEGImages" / f"{name}.jpg") for name in names]
        boxes = [face.box if face else None for face in faces]
        values = embed_clip(encoder, list(zip(frames, boxes, strict=True)), 0.1)
        told = values[:, -7:].exp().sum(dim=1) * values.any(dim=1)
        assert told.tolist() == pytest.approx([float(box is not None) for box in boxes], abs=1e-5)


def test_cremad(run):
    out, records = run("cremad", real("cremad"))
    assert emotions_of(records) == EMOTIONS[:6]
    assert {(r.speaker, r.sentence, r.rate_hz) for r in records} == {("1001", "DFA", 44_100)}
    for record in records:
        assert (record.width_px, record.height_px) == (480, 360)
        assert record.fps == pytest.approx(29.97, abs=0.01)
        pictured_s = record.frames * record.frame_step / record.fps
        assert abs(record.duration_s - pictured_s) < 5 / 29.97 + 0.06
    assert len(list((out / "voc/JPEGImages").iterdir())) == sum(r.frames for r in records)
    check_sound(out, records)
    annotate_and_embed(out)
    check_expressions(out)


def test_ravdess_picture_and_sound(run):
    root = real("ravdess_av")
    files = sorted(root.glob("Actor_*/*.mp4"))
    silent = [path.stem for path in files if path.stem.startswith("02-")]  # their track is silence
    out, records = run("ravdess", root)
    assert len(records) == len(files) - len(silent) > 1
    stored = {path.stem[3:]: -(-frames_of(path) // 5) for path in files if path.stem[:2] == "01"}
    assert {record.clip_id: record.frames for record in records} == stored
    check_sound(out, records)
    annotate_and_embed(out)
    check_expressions(out)
    with (out / "quarantine.csv").open(newline="", encoding="utf-8") as stream:
        reasons = [row["reason"] for row in csv.DictReader(stream)]
    assert len(reasons) == len(silent)
    for name, reason in zip(silent, sorted(reasons), strict=True):
        assert f"{name}.mp4: its sound is digital silence" in reason
    _, records = run("ravdess", root, modalities="video", system="visual_cnn")
    assert [record.has_audio for record in records] == [False] * len(files)


def frames_of(path):
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


def test_ravdess_sound_is_mono_or_stereo(run, tmp_path):
    stereo = []
    for path in sorted(real("ravdess_audio").glob("Actor_*/*.flac")):
        if soundfile.info(path).channels == 2:
            stereo.append(path)
    assert 0 < len(stereo) <= 5
    root = tmp_path / "some"
    for path in [*stereo, *sorted(real("ravdess_audio/Actor_03").glob("*.flac"))[:20]]:
        (root / path.parent.name).mkdir(parents=True, exist_ok=True)
        shutil.copy(path, root / path.parent.name)
    out, records = run("ravdess", root, system="audio_wavegram_logmel")
    assert len(records) >= 20 and all(record.rate_hz == 48_000 for record in records)
    kept = {path.stem[3:] for path in stereo}
    for record in records:
        channels = soundfile.info(out / "audio" / f"{record.clip_id}.wav").channels
        assert channels == (2 if record.clip_id in kept else 1)
    check_sound(out, records)


def test_the_second_opinion_says_of_faces_what_the_docs_state():
    """As the table of docs/models.md has it."""
    recognizer = Recognizer.load(PRETRAINED)
    found = {}
    for path in sorted(real("cremad").glob("*.flv")):
        opinion = recognizer.predict(path, faces=True).face_opinion
        found[path.stem.split("_")[2]] = max(opinion, key=opinion.__getitem__)
    assert found == {
        "ANG": "anger", "DIS": "anger", "FEA": "sadness", "HAP": "happiness", "NEU": "neutral",
        "SAD": "anger",
    }  # fmt: skip
