"""One canonical OpenAI stream out of every OpenAI-compatible one."""

from normalizer.core.exceptions import NormalizerError, OptionError
from normalizer.core.normalizer import Normalizer
from normalizer.core.options import Options
from normalizer.core.report import Repair, Report
from normalizer.core.request import RequestInfo
from normalizer.doors.asgi import NormalizingMiddleware
from normalizer.doors.transport import NormalizingTransport

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
