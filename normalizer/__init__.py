"""One canonical OpenAI stream out of every OpenAI-compatible one."""

from normalizer.asgi import NormalizingMiddleware
from normalizer.options import OptionError, Options
from normalizer.report import Repair, Report
from normalizer.request import RequestInfo
from normalizer.stream import Normalizer
from normalizer.transport import NormalizingTransport

__all__ = [
    "Normalizer",
    "NormalizingMiddleware",
    "NormalizingTransport",
    "OptionError",
    "Options",
    "Repair",
    "Report",
    "RequestInfo",
]
