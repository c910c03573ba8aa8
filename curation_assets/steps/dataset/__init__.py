"""The balanced dataset: selection, ledger, files, release and map."""
