"""Average precision, recall and result files; sees detections and annotations only."""
