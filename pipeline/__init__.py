"""What a clip is and how it moves: corpora, media, cache, splits, metrics, report."""
