"""What turns feature maps into predictions."""
