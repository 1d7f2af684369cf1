"""How work is done: the clip cache, what enters its keys, workers, progress; not what a clip is."""
