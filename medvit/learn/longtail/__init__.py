"""Classes of unequal size: losses, weights and orders of visiting."""
