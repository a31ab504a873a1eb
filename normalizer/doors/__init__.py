"""Where answers come in: the ASGI middleware and the httpx transport."""
