"""The pools of the demos: rendered drawings, and docstrings of installed packages."""
