"""Networks, losses and their training."""
