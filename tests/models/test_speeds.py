from dataclasses import astuple

from annotations.params import AnnotateParams
from models import speeds
from models.audio.params import EmbedParams
from models.faces.params import DetectorParams
from models.speeds import Timed, time_speeds
from pipeline.presets import preset_values


def test_speeds_of_this_machine_are_timed_on_what_the_clips_are_like(monkeypatch):
    monkeypatch.setattr(speeds, "ENOUGH_S", 0.0)
    monkeypatch.setenv("AVEMO_DEVICE", "cpu")
    values = preset_values("demo")
    values["embed"]["networks"] = []
    values["detector"].update(min_size_px=64, max_size_px=80, closer_px=32)
    timed = Timed(
        AnnotateParams.model_validate(values["annotate"]),
        EmbedParams.model_validate(values["embed"]),
        DetectorParams.model_validate(values["detector"]),
    )
    found = time_speeds((320, 256), 2.0, timed)
    assert min(found.look, found.features, *astuple(found.core)[:3]) > 0
    assert found.device is found.core
    assert found.detector_bytes > 1e6
    silent = time_speeds(None, 0.0, timed)
    assert (silent.features, silent.core.train, silent.look) == (0, 0, 0)
