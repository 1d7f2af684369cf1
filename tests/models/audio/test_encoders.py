"""Where a speech encoder's files are found; the hub is never asked."""

import huggingface_hub
import pytest
from huggingface_hub.errors import LocalEntryNotFoundError

from models.audio.encoders import FACTS, PACKAGED, WEIGHTS, find_encoder
from pipeline.errors import WeightsError


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """Two revisions of one encoder, the older one as safetensors; what is asked for is refused."""
    files = {"0ld": [*FACTS, WEIGHTS[0]], "new": [*FACTS, WEIGHTS[1]]}

    def fetch(repository, name, revision):
        commit = revision or "new"
        if repository != "someone/encoder" or name not in files.get(commit, []):
            raise LocalEntryNotFoundError(f"no {name} of {repository}\nand more")
        path = tmp_path / "snapshots" / commit / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        return str(path)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", fetch)


def test_a_revision_is_pinned_once_it_was_found(hub):
    newest = find_encoder("someone/encoder")
    assert (newest.weights.name, newest.identity) == (WEIGHTS[1], "revision new")
    pinned = find_encoder("someone/encoder@0ld")
    assert (pinned.weights.name, pinned.identity) == (WEIGHTS[0], "revision 0ld")
    assert find_encoder("someone/encoder", pinned.identity) == pinned


def test_what_cannot_be_fetched_says_what_to_bring_and_where(hub):
    expected = (
        r"someone/else: no such folder, and it cannot be fetched from huggingface\.co \(no "
        r"config\.json of someone/else\); fetch config\.json, preprocessor_config\.json and "
        r"model\.safetensors or pytorch_model\.bin of https://huggingface\.co/someone/else "
        r"elsewhere, put them into a folder and name that in its place"
    )
    with pytest.raises(WeightsError, match=expected):
        find_encoder("someone/else")
    with pytest.raises(WeightsError, match=r"fetched from huggingface\.co"):
        find_encoder("someone/encoder@absent")


def test_a_folder_is_known_by_the_content_of_its_files(tmp_path):
    for name in (*FACTS, WEIGHTS[0]):
        (tmp_path / name).write_bytes((PACKAGED["whisper_tiny_en"] / name).read_bytes())
    packaged = find_encoder("whisper_tiny_en")
    assert find_encoder(str(tmp_path)).identity == packaged.identity
    (tmp_path / FACTS[0]).write_text("{}")
    assert find_encoder(str(tmp_path)).identity != packaged.identity
    (tmp_path / FACTS[1]).unlink()
    with pytest.raises(WeightsError, match=r"no preprocessor_config\.json; expected a speech enc"):
        find_encoder(str(tmp_path))
