"""Labels to learn from, as other tools write them: what is wrong is named, and the rest is read.

Boxes to score against are read by `medvit.data.boxes`, which refuses what is not exact.
"""
