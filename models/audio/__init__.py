"""Sound to embeddings: the PANNs, their front end and weights, a speech encoder, features."""
