"""What is the same for every wire: bytes to events, findings, options, the report. No I/O."""
