"""Audio branch, visual branch and the network over both; what is learned from cached features."""
