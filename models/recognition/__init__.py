"""A saved model asked about a recording: windows of it, faces in them, a network's inputs, answers.

What a model folder is lies in `models.saved_model`; drawing the answers into the clip in
`models.annotated_video`.
"""
