"""The command line `avemo`: stages by name, presets, checks, summary, tables.

`boundary` is where errors of the user become one line; it serves the stages too.
"""
