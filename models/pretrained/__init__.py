"""The model that comes with the package, `audio_speech`: see its `README.md`; holds no code.

`python -m benchmarks.pretrained` trains it. Its weights have the licence beside this file.
"""
