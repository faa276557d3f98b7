# Shopstream's image: every command of the command line, for servers that run elsewhere.
#
#   docker build --tag shopstream .
#
# Both stages use the same pinned Python. A secret configures a mirror of the package index and is in no layer:
# docker build --secret id=pip,src=pip.conf .
ARG PYTHON_IMAGE=python:3.11.14-slim-bookworm
ARG BUILD_IMAGE=${PYTHON_IMAGE}

FROM ${BUILD_IMAGE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PYTHONDONTWRITEBYTECODE=1
RUN python3 -m venv /opt/shopstream
ENV PATH=/opt/shopstream/bin:${PATH}
WORKDIR /src
COPY requirements/image.lock requirements/
RUN --mount=type=secret,id=pip,target=/etc/pip.conf,required=false \
    pip install --quiet --require-hashes --only-binary=:all: --requirement requirements/image.lock
COPY pyproject.toml README.md LICENSE ./
COPY shopstream shopstream
COPY producers producers
COPY consumers consumers
COPY connectors connectors
COPY features features
COPY training training
COPY dashboards dashboards
# the tests of the libraries and the build tools are a sixth of the image
RUN pip install --quiet --no-deps --no-build-isolation . \
    && pip uninstall --quiet --yes uv_build pip setuptools \
    && find /opt/shopstream -type d \( -name tests -o -name __pycache__ \) -prune -exec rm -rf {} + \
    && python3 -m compileall -q -j 0 /opt/shopstream/lib

FROM ${PYTHON_IMAGE}
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Shopstream" \
      org.opencontainers.image.description="Exact streaming customer analytics: Kafka to features and scores in Elasticsearch." \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
# a new volume gets the owner and mode of the folder that it covers
RUN groupadd --gid 10001 shopstream \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /var/lib/shopstream --shell /usr/sbin/nologin shopstream \
    && for folder in . archive bundles history kernels mart state; do \
         install --directory --mode 700 --owner shopstream --group shopstream /var/lib/shopstream/$folder; \
       done
COPY --from=build /opt/shopstream /opt/shopstream
ENV PATH=/opt/shopstream/bin:${PATH} \
    PYTHONUNBUFFERED=1 \
    SHOPSTREAM_HOME=/var/lib/shopstream \
    # compiled kernels: the root file system may be read-only
    NUMBA_CACHE_DIR=/var/lib/shopstream/kernels \
    # spill folder of Polars; its default, /var/tmp, may be read-only
    POLARS_OOC_SPILL_DIR=/tmp/polars
USER 10001:10001
WORKDIR /var/lib/shopstream
# PROBE defines the check (shopstream/runtime/probe.py); without it the container is healthy while the program runs
HEALTHCHECK --interval=15s --timeout=10s --start-period=60s --retries=4 CMD ["python3", "-m", "shopstream.runtime.probe"]
ENTRYPOINT ["shopstream"]
CMD ["--help"]
