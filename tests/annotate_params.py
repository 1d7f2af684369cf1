"""Section `annotate` as most tests want it: nothing beside the plain search for faces."""

from annotations.params import AnnotateParams

PARAMS = AnnotateParams(
    upsample=0,
    max_side_px=640,
    min_score=0.0,
    second_look=False,
    refine=False,
    fill_gaps=0,
    speech_smoothing_s=0.1,
)
