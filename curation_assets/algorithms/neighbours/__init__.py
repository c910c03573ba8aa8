"""Similar rows: searches that are not the method itself, through faiss where it serves, else through torch."""
