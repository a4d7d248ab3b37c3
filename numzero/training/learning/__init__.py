"""From a batch to new weights; all of torch in training."""
