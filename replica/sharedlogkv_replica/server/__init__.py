"""The servers: bytes in, bytes out."""
