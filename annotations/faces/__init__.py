"""How faces are annotated: dlib finds them, tracks link them; the speaker's, and when it speaks.

What an annotation is, and how it lies on disk, is told by the files beside this room.
"""
