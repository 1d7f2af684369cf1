"""One thin module per DVC stage, and the command line."""
