"""The published systems that ours is compared with."""
