"""One canonical OpenAI stream out of every OpenAI-compatible one."""

from normalizer.asgi import NormalizingMiddleware
from normalizer.errors import NormalizerError, OptionError
from normalizer.options import Options
from normalizer.report import Repair, Report
from normalizer.request import RequestInfo
from normalizer.stream import Normalizer
from normalizer.transport import NormalizingTransport

__all__ = [
    "Normalizer",
    "NormalizerError",
    "NormalizingMiddleware",
    "NormalizingTransport",
    "OptionError",
    "Options",
    "Repair",
    "Report",
    "RequestInfo",
]
