"""What the traces of all domains share: bytes, columns of files, writing, statistics. Knows no domain."""
