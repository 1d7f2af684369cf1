"""How a run is shown: the run as facts, words, charts, sections and the page.

`comparison` is for tables of many systems.
"""
