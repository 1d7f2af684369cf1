"""How a saved model answers damaged recordings: damages, attacks, and a clip under all of them."""
