"""The steps of a pool, what is out of date, and what runs next."""
