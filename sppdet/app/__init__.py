"""A page to play with detectors and classifiers, served to this machine only."""
