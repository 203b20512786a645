"""Detectors side by side: stage times, speed-ups, mAP."""
