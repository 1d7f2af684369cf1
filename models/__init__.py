"""Networks, losses and their training: the method of the paper as a tree.

`audio` (sound to embeddings), `faces` (the detector), `fusion` (branches and head), `systems`
(every row of the tables as a recipe), `comparison` (many trials beside each other).
"""
