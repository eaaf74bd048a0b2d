# The images of Surefoot, by target:
#
#   docker build --target controller -t surefoot/controller:0.1.0 .
#   docker build --target load       -t surefoot/load:0.1.0 .
#
# The injector of chaos has a file of its own: chaos/injector/Dockerfile.
#
# BASE is a tag here because no digest could be learned where this was written (no registry is reachable). A release
# pins it: --build-arg BASE=python:3.11-slim-bookworm@sha256:... for all stages, and records the digest with the image.
ARG BASE=python:3.11-slim-bookworm

# --- our own wheel, built by what requirements/build.lock names
FROM ${BASE} AS wheel
WORKDIR /src
COPY requirements/build.lock requirements/build.lock
RUN python -m venv /build \
    && /build/bin/pip install --no-cache-dir --disable-pip-version-check --require-hashes -r requirements/build.lock
COPY pyproject.toml README.md LICENSE NOTICE ./
COPY rollout rollout
COPY analysis analysis
COPY chaos chaos
RUN /build/bin/pip wheel --no-cache-dir --disable-pip-version-check --no-deps --no-build-isolation -w /wheels .

# --- one environment for each image: the locked packages, our wheel, compiled, and no pip
FROM ${BASE} AS controller-environment
COPY requirements/controller.lock /tmp/image.lock
COPY --from=wheel /wheels /wheels
RUN python -m venv /opt/surefoot \
    && /opt/surefoot/bin/pip install --no-cache-dir --disable-pip-version-check --require-hashes -r /tmp/image.lock \
    && /opt/surefoot/bin/pip install --no-cache-dir --disable-pip-version-check --no-deps /wheels/*.whl \
    && /opt/surefoot/bin/pip uninstall --yes setuptools pip \
    && /opt/surefoot/bin/python -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/surefoot/lib

FROM ${BASE} AS load-environment
COPY requirements/load.lock /tmp/image.lock
COPY --from=wheel /wheels /wheels
RUN python -m venv /opt/surefoot \
    && /opt/surefoot/bin/pip install --no-cache-dir --disable-pip-version-check --require-hashes -r /tmp/image.lock \
    && /opt/surefoot/bin/pip install --no-cache-dir --disable-pip-version-check --no-deps /wheels/*.whl \
    && /opt/surefoot/bin/pip uninstall --yes setuptools pip \
    && /opt/surefoot/bin/python -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/surefoot/lib

# --- what both have in common: nobody's user, nothing to write to
FROM ${BASE} AS base
ENV PATH=/opt/surefoot/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
WORKDIR /tmp
USER 65532:65532

FROM base AS load
LABEL org.opencontainers.image.title="surefoot/load" org.opencontainers.image.licenses="Apache-2.0"
COPY --from=load-environment /opt/surefoot /opt/surefoot
ENTRYPOINT ["python", "-m", "analysis.load"]

FROM base AS controller
LABEL org.opencontainers.image.title="surefoot/controller" org.opencontainers.image.licenses="Apache-2.0"
COPY --from=controller-environment /opt/surefoot /opt/surefoot
EXPOSE 8090
ENTRYPOINT ["rollout"]
CMD ["controller", "run", "--metrics-address=:8090"]
