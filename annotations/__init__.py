"""Boxes and XML: VOC annotations, faces, visual speech activity."""
