"""Frozen expression encoders: what networks trained on photographs say of a face's crop."""
