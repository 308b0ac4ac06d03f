"""A `Source` over a data folder: the questions of the console as searches in `reading`, and as sums of the ledger."""
