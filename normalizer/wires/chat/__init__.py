"""Chat completions and the legacy completions."""
