"""Boxes and XML: VOC annotations, faces, visual speech activity, corrections by hand, a gallery."""
