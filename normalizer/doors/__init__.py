"""The doors: the ASGI middleware and the httpx transport."""
