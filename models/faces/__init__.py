"""The face detector: Faster R-CNN whose boxes come with a variance, trained on each fold."""
