"""How people look at annotations and put them right: the gallery; labelImg, CVAT and other tools.

What they have put right, and how it takes effect, is in `annotations.corrections`.
"""
