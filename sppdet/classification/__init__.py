"""Classification of images of any size: backbone, spatial pyramid pooling and fully connected layers (section 3)."""
