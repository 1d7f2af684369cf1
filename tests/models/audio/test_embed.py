from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import soundfile
import torch
from torch import nn

from models.audio import embed as embedding
from models.audio import noise
from models.audio.embed import (
    EmbedTask,
    embed_clip,
    embed_waveform,
    make_jobs,
    write_embeddings,
)
from models.audio.params import EmbedParams
from models.audio.weights import Weights
from models.checkpoint import load_safetensors
from pipeline.clips import ClipRecord, Reject
from pipeline.errors import CorpusError, MediaError, ParamsError
from pipeline.files import EMPTY_NOTE
from pipeline.media.sound import read_waveform
from pipeline.params import validate
from pipeline.work.cache import Accelerators, Products
from pipeline.work.executors import executors_from

UNTRAINED = Weights("Cnn14", None, 0, "untrained, seed 0")
PARAMS = EmbedParams(
    networks=("Cnn14",),
    weights="untrained",
    layers=(2, 1),
    statistics=("max",),
    pause_db=30,
    noisy_copies=0,
    handcrafted=("mfcc",),
    seed=0,
)


def record(clip_id, samples=16_000):
    return ClipRecord(clip_id, "s", "anger", "", 0, 0.0, 1, 0, 0, samples, 32_000)


def write_wav(path, samples=16_000, seed=0, rate_hz=32_000, channels=1):
    waveform = 0.1 * np.random.default_rng(seed).standard_normal((samples, channels))
    soundfile.write(path, waveform.astype(np.float32), rate_hz, subtype="FLOAT")
    return path


def run(jobs, root):
    folders = {}
    for number, job in enumerate(jobs):
        folders[job.clip_id] = root / str(number)
        folders[job.clip_id].mkdir(parents=True)
        embed_clip(job.payload, folders[job.clip_id])
    return Products(folders, [], 0)


def test_clips_become_one_file_each_whatever_the_company(tmp_path):
    for number, clip_id in enumerate(("a b", "ü")):
        write_wav(tmp_path / f"{clip_id}.wav", 16_000 + number, seed=number)
    records = [record("a b"), record("ü"), record("mute", samples=0)]

    count = write_embeddings(
        run(make_jobs(records, tmp_path, PARAMS), tmp_path / "1"), tmp_path / "all"
    )
    write_embeddings(
        run(make_jobs(records[1:], tmp_path, PARAMS), tmp_path / "2"), tmp_path / "one"
    )

    assert count == 2
    assert sorted(p.name for p in (tmp_path / "all").iterdir()) == [
        "a b.safetensors",
        "ü.safetensors",
    ]
    together, alone = (tmp_path / name / "ü.safetensors" for name in ("all", "one"))
    assert together.read_bytes() == alone.read_bytes()
    values = load_safetensors(together)[0]
    assert {name: len(value) for name, value in values.items()} == {"Cnn14": 2048, "mfcc": 100}
    waveform, known = read_waveform(tmp_path / "ü.wav"), {"Cnn14": UNTRAINED}
    for name, value in values.items():
        assert torch.equal(value, embed_waveform(waveform, name, known.get(name)))


def test_corpus_without_sound_gives_an_empty_folder_and_asks_for_no_weights(tmp_path):
    absent = PARAMS.model_copy(update={"weights": str(tmp_path / "absent")})
    jobs = make_jobs([record("mute", samples=0)], tmp_path, absent)
    assert jobs == []
    assert write_embeddings(Products({}, [], 0), tmp_path / "out") == 0
    assert [path.name for path in (tmp_path / "out").iterdir()] == [EMPTY_NOTE]


def test_further_network_or_other_seed_leaves_other_jobs_alone(tmp_path):
    more = PARAMS.model_copy(update={"networks": ("Wavegram_Cnn14", "Cnn14"), "layers": (1,)})
    facts = {job.clip_id: job.payload for job in make_jobs([record("a")], tmp_path, PARAMS)}
    with_more = {job.clip_id: job.payload for job in make_jobs([record("a")], tmp_path, more)}
    reseeded = PARAMS.model_copy(update={"seed": 1})
    with_seed = {job.clip_id: job.payload for job in make_jobs([record("a")], tmp_path, reseeded)}
    assert with_more.keys() - facts.keys() == {"a/Wavegram_Cnn14"}
    assert all(with_more[name] == facts[name] for name in facts)
    assert [name for name in facts if facts[name] != with_seed[name]] == ["a/Cnn14"]


def test_jobs_of_one_network_lie_together(tmp_path):
    jobs = make_jobs([record("a"), record("b")], tmp_path, PARAMS)
    assert [job.clip_id for job in jobs] == ["a/Cnn14", "b/Cnn14", "a/mfcc", "b/mfcc"]


def test_copies_in_noise_lie_beside_the_clip_and_leave_it_alone(tmp_path):
    records = [record("a", 12_800), record("b", 12_800)]
    for number, one in enumerate(records):
        write_wav(tmp_path / f"{one.clip_id}.wav", one.samples, seed=number)
    found = {}
    for copies in (0, 3):
        params = PARAMS.model_copy(update={"noisy_copies": copies})
        products = run(make_jobs(records, tmp_path, params), tmp_path / str(copies))
        write_embeddings(products, tmp_path / f"of {copies}")
        found[copies] = load_safetensors(tmp_path / f"of {copies}" / "a.safetensors")[0]
    assert {name: list(value.shape) for name, value in found[3].items()} == {
        "Cnn14": [2048], "Cnn14 in noise": [3, 2048], "mfcc": [100], "mfcc in noise": [3, 100],
    }  # fmt: skip
    for name in ("Cnn14", "mfcc"):
        clip, copies = found[3][name], found[3][noise.noisy(name)]
        assert torch.equal(clip, found[0][name])
        assert len({tuple(one.tolist()) for one in (clip, *copies)}) == 4
    waveform = read_waveform(tmp_path / "a.wav")
    again = noise.noisy_copies(waveform, 3, "a")[1]
    assert torch.equal(found[3]["mfcc in noise"][1], embed_waveform(again, "mfcc", None))
    for copy in noise.noisy_copies(waveform, 20, "a"):
        power = [np.square(one, dtype=np.float64).mean() for one in (waveform, copy - waveform)]
        assert -0.1 <= 10 * np.log10(power[0] / power[1]) <= 20.1


@pytest.mark.parametrize("network", ["Cnn14", "whisper_tiny_en"])
def test_clips_that_share_a_pass_are_embedded_as_alone(tmp_path, monkeypatch, network):
    lengths = (16_000, 15_900, 3_000, 16_010, 9_600, 16_000)  # one is too short
    records = [record(str(number), samples) for number, samples in enumerate(lengths)]
    for number, one in enumerate(records):
        write_wav(tmp_path / f"{number}.wav", one.samples, seed=number)
    params = PARAMS.model_copy(update={"networks": (network,), "handcrafted": ()})
    jobs = make_jobs(records, tmp_path, params)
    passes = []
    monkeypatch.setattr(embedding, "BATCH", 2)
    kind = type(embedding._network(jobs[0].payload.weights))
    plain = kind.embed_heard
    monkeypatch.setattr(
        kind, "embed_heard", lambda self, sound: passes.append(len(sound)) or plain(self, sound)
    )
    folders = [tmp_path / str(number) for number in range(len(jobs))]
    for folder in folders:
        folder.mkdir()
    errors = embedding.embed_together(
        [(job.payload, folder) for job, folder in zip(jobs, folders, strict=True)]
    )
    assert max(passes) == 2 and sum(passes) == 5
    for job, folder, error in zip(jobs, folders, errors, strict=True):
        if job.clip_id.startswith("2/"):
            assert isinstance(error, MediaError)
            continue
        (value,) = load_safetensors(folder / "embedding.safetensors")[0].values()
        alone = embed_waveform(read_waveform(job.payload.wav), network, job.payload.weights)
        torch.testing.assert_close(value, alone, atol=1e-4, rtol=1e-4)


def test_worker_holds_one_network(tmp_path, monkeypatch):
    built = []
    monkeypatch.setattr(embedding, "_loaded", {})
    monkeypatch.setattr(embedding, "load_network", lambda one: built.append(one) or nn.Identity())
    first, second = UNTRAINED, Weights("Cnn14", None, 1, "untrained, seed 1")
    for weights in (first, first, second, second):
        embedding._network(weights)
    assert built == [first, second]
    assert list(embedding._loaded) == [second]


@pytest.mark.parametrize(
    ("wav", "message"),
    [
        ({"rate_hz": 44_100}, "44100 Hz, 1 channels; expected 32000 Hz"),
        ({"channels": 2}, "2 channels; expected"),
        ({"samples": 3_199}, "3199 samples at 32000 Hz: expected at least 3200"),
    ],
)
def test_unusable_sound_is_refused(tmp_path, wav, message):
    path = write_wav(tmp_path / "a.wav", **wav)
    with pytest.raises(MediaError, match=message):
        embed_clip(EmbedTask(path, "Cnn14", UNTRAINED), tmp_path)


def test_damaged_sound_and_numbers_that_are_not_finite_are_refused(tmp_path):
    path = tmp_path / "a.wav"
    path.write_bytes(b"")
    with pytest.raises(MediaError, match=r"a\.wav: not a sound file"):
        read_waveform(path)
    soundfile.write(path, np.full(3_200, np.nan, np.float32), 32_000, subtype="FLOAT")
    with pytest.raises(MediaError, match="not finite"):
        read_waveform(path)


def test_an_accelerator_embeds_what_the_processor_does(tmp_path, monkeypatch):
    records = [record(str(number), 9_600 + 10 * (number // 2)) for number in range(4)]
    for number, one in enumerate(records):
        write_wav(tmp_path / f"{number}.wav", one.samples, seed=number)
    jobs = make_jobs(records, tmp_path, PARAMS.model_copy(update={"noisy_copies": 1}))
    monkeypatch.setenv("AVEMO_WORKERS", "1")
    found = {}
    for kind in ("processor", "accelerator"):
        monkeypatch.setenv("AVEMO_CACHE", str(tmp_path / kind))
        with executors_from(ThreadPoolExecutor):
            products = embedding.embed_all(jobs)
        write_embeddings(products, tmp_path / f"of {kind}")
        found[kind] = [load_safetensors(p)[0] for p in sorted((tmp_path / f"of {kind}").iterdir())]
        cards = Accelerators(("cpu",), embedding.embed_together, 3)
        monkeypatch.setattr(embedding, "accelerators", lambda work, at_once, own=cards: own)
    torch.testing.assert_close(found["accelerator"], found["processor"], atol=1e-4, rtol=1e-4)


def test_failed_clip_fails_the_stage_by_name(tmp_path):
    products = Products({}, [Reject("a/Cnn14", "a.wav", "too short")], 0)
    with pytest.raises(CorpusError, match="1 of 1 embeddings failed, the first is a/Cnn14: too"):
        write_embeddings(products, tmp_path / "out")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"networks": ["Cnn15"]}, r"embed\.networks\.0: got 'Cnn15'"),
        ({"handcrafted": ["mfcc", "mfcc"]}, r"embed\.handcrafted: .*stand once"),
        ({"layers": [-1]}, r"embed\.layers\.0: got -1"),
        ({"layers": [1, 1]}, r"embed\.layers: .*stand once"),
        ({"statistics": []}, r"embed\.statistics: got \[\]"),
        ({"seeds": 1}, r"embed\.seeds: unknown key"),
        ({"seed": -1}, r"embed\.seed: got -1"),
    ],
)
def test_bad_params_are_named(tmp_path, change, message):
    values = PARAMS.model_dump() | change
    with pytest.raises(ParamsError, match=message):
        validate("embed", values, EmbedParams, tmp_path / "params.yaml")
