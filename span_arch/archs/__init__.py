"""The networks of the family. One module per architecture ends in its record, and `registry` lists the records."""
