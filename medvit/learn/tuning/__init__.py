"""Ways to tune a network on few labels: which parameters learn, and how fast."""
