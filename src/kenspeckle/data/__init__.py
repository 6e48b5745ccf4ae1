"""Images on disk become samples, samples become batches."""
