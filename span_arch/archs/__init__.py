"""One module per architecture; each ends in its record. `registry` lists them."""
