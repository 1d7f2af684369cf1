"""What a model answers for damaged clips: answers, their figures by condition, charts, the page."""
