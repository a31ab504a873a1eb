"""A page that shows what a stream sent, what we made of it, and what would have broken."""
