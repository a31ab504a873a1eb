"""What tools/record and tools/cassette_table are made of."""
