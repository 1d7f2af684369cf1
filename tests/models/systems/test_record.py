"""What a run records of itself."""

from models.systems.record import preset_of
from pipeline.presets import preset_values


def test_a_run_is_compared_with_all_that_its_preset_begins_from():
    params = preset_values("ravdess")
    assert params["split"]["protocol"] == "folds" and params["loss"]["alpha"] == 1.0
    assert preset_of("ravdess", params).differing == {}
    params["loss"] = {**params["loss"], "alpha": 0.5}
    params["detector"] = {**params["detector"], "backbone": "mobilenet_v3"}  # savee.yaml states it
    assert preset_of("ravdess", params).differing == {
        "loss.alpha": ("1.0", "0.5"),
        "detector.backbone": ('"resnet50"', '"mobilenet_v3"'),
    }
    assert preset_of("nowhere", params) is None
