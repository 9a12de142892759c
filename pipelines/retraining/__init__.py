"""The steps of `medvit retrain`."""
