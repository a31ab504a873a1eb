"""One canonical OpenAI stream out of every OpenAI-compatible one."""

from normalizer.options import OptionError, Options
from normalizer.report import Repair, Report
from normalizer.request import RequestInfo
from normalizer.stream import Normalizer

__all__ = ["Normalizer", "OptionError", "Options", "Repair", "Report", "RequestInfo"]
