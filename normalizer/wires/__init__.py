"""One folder a protocol: its canonical form, its stages, its whole body, its errors."""
