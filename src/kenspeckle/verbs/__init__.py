"""One function a verb: the only place that strings rooms together."""
