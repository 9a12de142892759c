"""Decoding in a process of its own, so that a crash or a runaway takes only one file down."""
