"""What lies in a folder of recordings: one index function per corpus, and the demo corpus.

Names and folders become clips here; no recording is opened (that is `pipeline.media`).
"""
