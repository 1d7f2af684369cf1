import csv
import io
import pickle
from concurrent.futures import ThreadPoolExecutor

import av
import dlib
import numpy as np
import pytest
import soundfile
from pydantic import ValidationError

from pipeline.corpora.demo import corpus as demo
from pipeline.corpora.demo.corpus import Order, make_clip, orders
from pipeline.corpora.demo.params import DemoParams
from pipeline.corpora.demo.plan import CODES, FACE, VOICE, Variation, perform
from pipeline.corpora.savee import index_savee
from pipeline.work.executors import executors_from

FIELDS = {
    "speakers": 4,
    "takes": 4,
    "fps": 25,
    "width_px": 320,
    "height_px": 256,
    "min_s": 1.5,
    "max_s": 2.5,
    "rate_hz": 48000,
    "ambiguity": 0.5,
    "seed": 0,
}


def params(**changes):
    return DemoParams(**{**FIELDS, **changes})


def file_bytes(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*.*")
        if path.is_file()
    }


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """One clip a speaker, each of another emotion."""
    root = tmp_path_factory.mktemp("demo")
    for number, speaker in enumerate(("DC", "JE", "JK", "KL")):
        code = list(CODES.values())[2 * number]
        order = next(o for o in orders(params()) if demo.clip_id(o.play) == f"{speaker}_{code}01")
        part = root / "part"
        make_clip(order, part)
        for name, content in file_bytes(part).items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(content)
            (part / name).unlink()
        for path in sorted(part.rglob("*"), reverse=True):
            path.rmdir()
    return root


def truth_of(clip):
    return list(csv.DictReader(io.StringIO(clip.truth.read_text())))


def gray_frames(clip):
    with av.open(str(clip.video)) as container:
        return [frame.to_ndarray(format="gray") for frame in container.decode(video=0)]


def iou(one, two):
    width = min(one[2], two[2]) - max(one[0], two[0])
    height = min(one[3], two[3]) - max(one[1], two[1])
    inner = max(width, 0) * max(height, 0)
    areas = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (one, two))
    return inner / (areas - inner)


def test_more_takes_and_speakers_change_no_clip():
    few = {demo.clip_id(o.play): o.play for o in orders(params(speakers=2, takes=1))}
    many = {demo.clip_id(o.play): o.play for o in orders(params(takes=12))}
    assert len(few) == 14
    assert len(many) == 4 * 7 * 12
    assert all(many[name] == play for name, play in few.items())


def test_same_seed_gives_same_bytes_and_another_seed_others(tmp_path):
    order = orders(params(min_s=0.5, max_s=0.8))[0]
    other = orders(params(min_s=0.5, max_s=0.8, seed=1))[0]
    for name, clip in (("one", order), ("two", order), ("other", other)):
        make_clip(clip, tmp_path / name)
    one, two, three = (file_bytes(tmp_path / name) for name in ("one", "two", "other"))
    assert one == two
    assert one.keys() == three.keys()
    assert all(one[name] != three[name] for name in one)


def test_the_layout_is_savees(corpus):
    index = index_savee(corpus)
    assert not index.rejects
    assert [clip.clip_id for clip in index.clips] == ["DC_a01", "JE_f01", "JK_n01", "KL_su01"]
    assert all(clip.video and clip.audio and clip.truth for clip in index.clips)
    assert {clip.sentence for clip in index.clips} == {"common1"}


def test_sound_picture_and_truth_have_one_length(corpus):
    for clip in index_savee(corpus).clips:
        sound = soundfile.info(clip.audio)
        frames = len(gray_frames(clip))
        assert [row["frame"] for row in truth_of(clip)] == [str(i) for i in range(frames)]
        assert sound.samplerate == 48000
        assert sound.frames * 25 == frames * 48000
        assert 1.5 <= sound.duration <= 2.5


def test_dlib_frames_the_face_as_the_truth_does(corpus):
    detector = dlib.get_frontal_face_detector()
    overlaps = []
    for clip in index_savee(corpus).clips:
        for frame, row in list(zip(gray_frames(clip), truth_of(clip), strict=True))[::6]:
            found = detector(frame, 0)
            assert len(found) == 1
            box = (found[0].left(), found[0].top(), found[0].right() + 1, found[0].bottom() + 1)
            overlaps.append(iou(box, [float(row[key]) for key in ("x1", "y1", "x2", "y2")]))
    assert np.mean(overlaps) > 0.75


def test_the_mouth_follows_the_voice(corpus):
    for clip in index_savee(corpus).clips:
        signal, rate = soundfile.read(clip.audio)
        truth = truth_of(clip)
        loudness = np.sqrt(np.mean(signal.reshape(len(truth), rate // 25) ** 2, axis=1))
        mouth = np.array([float(row["mouth_open"]) for row in truth])
        speech = np.array([row["speech"] == "1" for row in truth])
        assert np.corrcoef(loudness, mouth)[0, 1] > 0.5
        assert loudness[speech].mean() > 5.0 * loudness[~speech].mean()
        assert 0.3 < speech.mean() < 0.95


def test_without_ambiguity_a_take_shows_its_emotion_alone():
    speaker = demo.SPEAKERS[0]
    for emotion in CODES:
        play = perform(speaker, emotion, 1, Variation(seed=0, ambiguity=0.0))
        face = speaker.face_gain * np.array(FACE.shown[emotion])
        voice = speaker.voice_gain * np.array(VOICE.shown[emotion])
        assert np.allclose(list(play.face.values()), face)
        assert np.allclose(list(play.voice.values()), voice)


def test_building_again_makes_only_new_takes(tmp_path, monkeypatch):
    # one thread: starting processes is the stage test's business
    monkeypatch.setenv("AVEMO_CACHE", str(tmp_path / "cache"))
    short = {"speakers": 1, "min_s": 0.5, "max_s": 0.5, "width_px": 160, "height_px": 160}
    with executors_from(ThreadPoolExecutor):
        demo.build(tmp_path / "grown", params(takes=1, **short))
        grown = demo.build(tmp_path / "grown", params(takes=2, **short))
        assert (len(grown.folders), grown.cached) == (14, 7)
        monkeypatch.setenv("AVEMO_CACHE", str(tmp_path / "other"))
        demo.build(tmp_path / "clean", params(takes=2, **short))
    assert file_bytes(tmp_path / "grown") == file_bytes(tmp_path / "clean")


def test_a_shortest_clip_above_the_longest_is_refused():
    with pytest.raises(ValidationError, match=r"min_s 3\.0 is above max_s 2\.5"):
        params(min_s=3.0)


def test_orders_carry_picklable_plans():
    order = orders(params())[0]
    assert pickle.loads(pickle.dumps(order)) == order
    assert isinstance(order, Order)
