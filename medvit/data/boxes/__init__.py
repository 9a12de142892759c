"""Boxes on images and the files they are kept in: COCO JSON and VOC XML."""
