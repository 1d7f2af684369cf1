"""What a clip expresses: python example.py [sound.wav] [frames.rgb].

Needs onnxruntime and numpy alone. ffmpeg makes both files, with the numbers of model.json:
ffmpeg -i clip.mp4 -ac 1 -ar <rate_hz> sound.wav
ffmpeg -i clip.mp4 -vf scale=<width_px>:<height_px> -pix_fmt rgb24 -f rawvideo frames.rgb
"""

import json
import sys
import wave
from pathlib import Path

import numpy as np
from onnxruntime import InferenceSession

CARD = json.loads(Path(__file__).with_name("model.json").read_text("utf-8"))
run = {path.stem: InferenceSession(path).run for path in Path(__file__).parent.glob("*.onnx")}
inputs, hz, most_s = {}, CARD["rate_hz"], CARD["longest_s"]
for path in sys.argv[1:]:
    if path.endswith(".wav"):
        with wave.open(path) as file:
            if file.getparams()[:3] != (1, 2, hz) or not 0.1 <= file.getnframes() / hz <= most_s:
                sys.exit(f"{path}: expected mono, 16 bits, {hz} Hz, 0.1 to {most_s:g} s")
            sound = np.frombuffer(file.readframes(file.getnframes()), "<i2") / np.float32(32768)
        inputs["audio"] = np.hstack([run[n](None, {"waveform": sound})[0] for n in CARD["audio"]])
    else:
        film = np.fromfile(path, np.uint8).reshape(-1, CARD["height_px"], CARD["width_px"], 3)
        count = min(CARD["frames"], len(film))
        chosen = film[(2 * np.arange(count) + 1) * len(film) // (2 * count)]
        faces = [run["detector"](None, {"frame": frame}) for frame in chosen]
        for box, sigma, score, _ in faces:
            print("face", box.round(1), "+-", sigma.round(1), "px, score", score.round(3))
        if any(face[2] for face in faces):  # else the sound answers alone
            inputs["weights"] = np.array([face[2] > 0 for face in faces], np.float32)
            inputs["faces"] = np.stack([face[3] for face in faces])
head = next((n for n, needed in CARD["heads"].items() if inputs.keys() >= set(needed)), None)
head = head or sys.exit("nothing to answer from: expected sound, or frames that show a face")
p = run[head](None, {name: inputs[name] for name in CARD["heads"][head]})[0]
print(*(f"{e:9} {value:.5f}" for e, value in zip(CARD["emotions"], p, strict=True)), sep="\n")
print(f"{head}: {CARD['emotions'][p.argmax()]}")
