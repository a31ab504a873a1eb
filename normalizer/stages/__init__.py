"""The repairs: one concern, one file, one class. No stage knows another."""
