"""What each target is compared with, and how it comes out."""
