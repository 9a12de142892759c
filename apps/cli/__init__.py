"""The `medvit` command."""
