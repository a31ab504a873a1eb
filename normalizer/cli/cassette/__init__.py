"""`stream-normalizer record`, `replay`, and `cassette show|verify|diff|import|export`."""

from __future__ import annotations

from normalizer.cli.cassette.files import cassette
from normalizer.cli.cassette.serving import record, replay

__all__ = ["cassette", "record", "replay"]
