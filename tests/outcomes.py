"""What becomes of every recorded stream, a line each: a program for tests/test_compiled.py.

Made ids and times are fixed, so that two runs can be compared. The first line says where the core
was loaded from. This tree comes last on the path: an installed package, if there is one, is used.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import sys
import time
import uuid
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT))

from normalizer import Normalizer, RequestInfo  # noqa: E402 - found by the path above
from normalizer.core import template  # noqa: E402
from tools.benchmarks.recorded import RECORDED, from_cassettes, from_shared  # noqa: E402

made = itertools.count(1)


def main() -> None:
    uuid.uuid4 = lambda: uuid.UUID(int=next(made))
    time.time = lambda: 1763750000.0
    print(template.__file__)
    answers = from_shared() if RECORDED[0].exists() else from_cassettes()
    for path, body, answer in answers:
        request = RequestInfo.parse(path, body)
        for pieces in ([answer], [one + b"\n\n" for one in answer.split(b"\n\n")]):
            normalizer = Normalizer(request)
            out = b"".join(map(normalizer.feed, pieces)) + normalizer.close()
            report = normalizer.report
            told = (normalizer.content_type, normalizer.status, report.end, report.codes)
            print(json.dumps([hashlib.sha256(out).hexdigest(), len(out), path, *told]))


if __name__ == "__main__":
    main()
