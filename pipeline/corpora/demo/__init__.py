"""The embedded demo corpus: drawn talking heads with synthetic voices, in SAVEE's layout.

A performance is planned (`plan`, `cast`), timed (`score`), moved (`motion`), drawn (`face`, `hair`,
`paint`, `set`, `film`) and voiced (`voice`); `corpus` makes all clips. It proves that the machinery
works and says nothing about people.
"""
