"""True and predicted boxes to score, from COCO JSON and VOC XML: what is not exact is refused.

Labels to learn from are read by `medvit.data.labels`, which names what is wrong and goes on.
"""
