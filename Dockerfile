# One image for every role: `docker run IMAGE run submitter`. It writes only to the state directory, which must be a volume
# where the root file system is read-only.
# To pin the base: --build-arg PYTHON_IMAGE=python:3.13-slim@sha256:…
ARG PYTHON_IMAGE=python:3.13-slim

FROM ${PYTHON_IMAGE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /source
RUN python -m venv /opt/build && python -m venv /opt/processor
COPY requirements.lock requirements-build.lock ./
RUN /opt/build/bin/pip install --require-hashes -r requirements-build.lock \
 && /opt/processor/bin/pip install --require-hashes -r requirements.lock
COPY pyproject.toml LICENSE ./
COPY schemas schemas
COPY processor processor
RUN /opt/build/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /wheel . \
 && /opt/processor/bin/pip install --no-deps /wheel/*.whl \
 && /opt/processor/bin/python -m compileall -q /opt/processor/lib \
 && /opt/processor/bin/pip uninstall --yes pip

FROM ${PYTHON_IMAGE}
ARG VERSION=0.2.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="onboarding-processor" \
      org.opencontainers.image.description="Onboarding requests from Kafka, run as workflows at a provider's HTTP API" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
ENV PATH=/opt/processor/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    IMAGE_REVISION="${REVISION}" \
    PROCESSOR_STATE__DIRECTORY=/var/lib/processor
COPY --from=build /opt/processor /opt/processor
# Given by number, so that Kubernetes can prove that it is not root.
RUN install --directory --owner=10001 --group=10001 /var/lib/processor
USER 10001:10001
VOLUME /var/lib/processor
# The webhook port and the operations port.
EXPOSE 8080 8081
# The roles drain on it: open runs are awaited, work is committed, the group is left.
STOPSIGNAL SIGTERM
ENTRYPOINT ["processor"]
CMD ["run"]
