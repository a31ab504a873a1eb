"""OpenAI's Responses API, and Open Responses: ``POST …/responses``."""
