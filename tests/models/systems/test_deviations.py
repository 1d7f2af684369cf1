import pytest

from models.faces.params import DetectorParams
from models.systems.deviations import deviations
from models.systems.params import Settings
from pipeline.presets import preset_values
from pipeline.report.comparison.rows import BETWEEN_PHRASES
from pipeline.systems import OURS, SYSTEMS


def stated(preset, system, **changed):
    """Deviations of a system under a preset, with some settings changed, as `section__key`."""
    values = preset_values(preset)
    for name, value in changed.items():
        section, _, key = name.partition("__")
        values[section][key] = value
    detector = DetectorParams.model_validate(values["detector"])
    return deviations(system, Settings.load(values), detector, values["embed"]["weights"])


@pytest.mark.parametrize("system", SYSTEMS)
def test_every_row_of_the_demo_deviates(system):
    found = stated("demo", system)
    assert found and len(set(found)) == len(found)
    for phrase in found:
        assert BETWEEN_PHRASES not in phrase
        assert not phrase[0].islower() and not phrase.endswith(".")


def test_what_we_added_or_left_out_is_named():
    for changed, phrase in (
        ({"fusion__head": "residual"}, "correct the sum"),
        ({"fusion__joint": False}, "learns before the fusion"),
        ({"detector__closer_px": 48}, "looks again at its crop of 48 px"),
        ({"detector__backbone": "resnet18_light"}, "narrow ResNet-18 FPN for ResNet-50 FPN"),
        ({"detector__weights": "imagenet"}, "from ImageNet's weights, not from COCO's"),
        ({"detector__min_size_px": 96}, "for 800 to 1333 px"),
        ({"visual__speech_weighting": True}, "visual speech activity"),
        ({"embed__weights": "untrained"}, "PANNs with random weights"),
        ({"inner_folds__count": 2}, "temperature"),
        ({"embed__noisy_copies": 3}, "3 copies of each clip in noise"),
        ({"detector__corrupt": 0.5}, "50% of the pictures that train the detector"),
        ({"fusion__modality_dropout": 0.2}, "sound or picture of 20% withheld"),
    ):
        assert [one for one in stated("savee", OURS, **changed) if phrase in one], phrase
    for count in (0, 2):
        found = stated("savee", OURS, fusion__pool=True, inner_folds__count=count)
        assert any("is a pool" in one for one in found) == bool(count)
    tuned = stated("savee", "audio_cnn", audio__train="all")
    assert "The audio network learns with the layers over it, not frozen" in tuned
    plain = {
        **{"fusion__joint": True, "visual__speech_weighting": False, "inner_folds__count": 0},
        **{"detector__min_size_px": 800, "detector__max_size_px": 1333},
    }
    assert stated("savee", OURS, **plain) == ()


def test_rows_that_deviate_alike_say_it_alike():
    ours = set(stated("demo", OURS))
    assert set(stated("demo", "audio_wavegram")) < ours
    assert len(set(stated("demo", "av_cnn")) & set(stated("demo", "visual_cnn"))) == 4
    assert len(set(stated("demo", "av_cnn")) & ours) == 3


def test_published_parts_are_not_named():
    begin = ["Faces are thos", "One face crop ", "Pictures are c", "Probabilities "]
    assert [one[:14] for one in stated("savee", "av_dnn")] == begin
    assert "C3d" not in "".join(stated("savee", "av_vaanet"))
    assert stated("savee", "av_vaanet")[0] == (
        "Torchvision's r3d_18 from Kinetics' weights for a frozen 3-D ResNet-101 trained on "
        "Kinetics"
    )
    frozen = stated("savee", "visual_cnn", baselines__trunk="frozen")
    assert "from ImageNet's weights, kept as it is, for the image CNN" in frozen[0]
    assert not [one for one in frozen if "at random" in one]
