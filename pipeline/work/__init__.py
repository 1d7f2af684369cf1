"""How work is done: the clip cache, worker processes, progress. Nothing here knows a clip."""
