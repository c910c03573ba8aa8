"""What a listing knows of each file: its version, whether a link is followed, what its name says."""
