"""The Ray engine. Only modules of this folder import Ray, and only when the engine is used."""
