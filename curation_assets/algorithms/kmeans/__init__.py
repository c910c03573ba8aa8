"""One k-means: seeds, Lloyd's iterations and sums, in one process or shared out among workers."""
