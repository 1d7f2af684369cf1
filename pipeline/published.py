"""Published figures to stand beside ours.

Source: Hussain, Wang, Bouaynaya, Fathallah-Shaykh, Mihaylova, *Deep Learning for Audio Visual
Emotion Recognition*, Tables I and II: accuracy on 70 random clips of SAVEE.
"""

PAPER_ACCURACY = {
    "audio_cnn": 0.593,
    "audio_wavegram": 0.622,
    "audio_wavegram_logmel": 0.655,
    "visual_cnn": 0.391,
    "visual_cnn_fd": 0.319,
    "visual_faster_rcnn": 0.338,
    "av_dnn": 0.498,
    "av_vaanet": 0.638,
    "av_cnn": 0.593,
    "av_cnn_fd": 0.614,
    "av_faster_rcnn": 0.631,
}
"""By system, in [0, 1]."""

PAPER_TEST_CLIPS = 70
