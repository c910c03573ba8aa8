"""The Ray engine. Only the modules of this folder import Ray, and only when the engine is used."""
