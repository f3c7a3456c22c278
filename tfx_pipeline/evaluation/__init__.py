"""Full-corpus ranks and the metrics that follow from them."""
