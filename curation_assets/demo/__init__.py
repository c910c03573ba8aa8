"""Material for trying the package out: a pool of drawings that is made on the spot."""
