"""The model that comes with the package, `audio_speech`: see its `README.md`; holds no code.

`docs/models.md` says how it was trained. Its weights have the licence beside them.
"""
