"""Many trials beside each other: systems, ablations and box losses, for tables."""
