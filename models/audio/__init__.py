"""Sound to embeddings: the PANNs, their front end and weights, hand-crafted features."""
