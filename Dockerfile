# The reverse proxy in a container. docs/scale.md describes it.
#
#   docker build --tag stream-normalizer .
#   docker run --publish 8900:8900 stream-normalizer --upstream http://host.docker.internal:8000/v1

# By its digest (--build-arg BASE=python@sha256:…) if the build must be the same to the byte.
ARG BASE=python:3.13.14-slim-bookworm

FROM ${BASE} AS build
WORKDIR /src
COPY pyproject.toml hatch_build.py* README.md LICENSE ./
COPY normalizer normalizer
# The versions that the tests run with, for what is installed and for what builds our wheel.
COPY tools/constraints/test.txt constraints.txt
ENV PIP_CONSTRAINT=/src/constraints.txt PIP_BUILD_CONSTRAINT=/src/constraints.txt
# hadolint ignore=DL3013
RUN python -m pip install --no-cache-dir --disable-pip-version-check --target /app ".[serve,metrics]"

FROM ${BASE}
COPY --from=build /app /app
# The root may be read-only: nothing is written but the metrics of several workers, to /tmp.
ENV PYTHONPATH=/app PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
# A number, so that Kubernetes can see that it is not root.
USER 65532:65532
EXPOSE 8900
# SIGTERM lets open streams end. `docker stop` waits 10 seconds if --timeout does not say more.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=10s CMD ["python", "-IS", "-c", "import http.client as h; c = h.HTTPConnection('127.0.0.1', 8900, timeout=4); c.request('GET', '/healthz'); raise SystemExit(c.getresponse().status != 200)"]
ENTRYPOINT ["python", "-m", "normalizer", "serve", "--host", "0.0.0.0", "--port", "8900"]
CMD ["--help"]
