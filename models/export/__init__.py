"""A saved model as ONNX graphs that need nothing but onnxruntime, and the check that they agree.

Here are the networks restated where ONNX cannot follow them: sound of any length, and the best
face of a frame of one size. What they compute is that of `models.audio` and `models.faces`.
"""
