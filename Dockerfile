# One image for every role: `docker run IMAGE run submitter`. It carries Python, the locked dependencies and the program:
# no pip, no compiler, and nothing that needs a shell. It writes to the state directory and /tmp only, so its root file
# system may be read-only.
#
# To pin the base:          --build-arg PYTHON_IMAGE=python:3.13-slim@sha256:…
# For another runtime base: --build-arg RUNTIME_IMAGE=… (any that has the same interpreter at the same path; it needs no shell)
# Behind a proxy that inspects TLS, or with another package index:
#   --secret id=ca,src=authorities.pem    the authorities that pip believes instead of its own
#   --secret id=pip,src=pip.conf          pip's own configuration: index-url, credentials
# Neither is kept in a layer; what they bring must have the hashes of the locks.
# To build it again, bit by bit: the same bases, the same SOURCE_DATE_EPOCH, and an engine that clamps the times of layers
# (`make image` does all of it).
ARG PYTHON_IMAGE=python:3.13-slim
ARG RUNTIME_IMAGE=${PYTHON_IMAGE}

FROM ${PYTHON_IMAGE} AS build
ARG SOURCE_DATE_EPOCH=0
# Bytecode is compiled once, below, and what it depends on is fixed.
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore PIP_CONFIG_FILE=/run/secrets/pip PYTHONHASHSEED=0
WORKDIR /source
COPY requirements.lock requirements-build.lock ./
RUN --mount=type=cache,target=/root/.cache/pip --mount=type=secret,id=ca --mount=type=secret,id=pip \
    if [ -f /run/secrets/ca ]; then export PIP_CERT=/run/secrets/ca; fi \
 && python3 -m venv /opt/build \
 && python3 -m venv --without-pip /opt/processor \
 && /opt/build/bin/pip install --require-hashes --only-binary :all: -r requirements-build.lock \
 && /opt/build/bin/pip --python /opt/processor/bin/python3 install --no-compile --require-hashes --only-binary :all: \
      -r requirements.lock
COPY pyproject.toml LICENSE ./
COPY schemas schemas
COPY processor processor
# What lies in bin are scripts for a shell and the tools of libraries. Bytecode that is never checked against its source
# does not depend on the times of files; what an import has left before (-f) does.
RUN /opt/build/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /wheel . \
 && /opt/build/bin/pip --python /opt/processor/bin/python3 install --no-compile --no-index --no-deps /wheel/*.whl \
 && find /opt/processor/bin -type f ! -name processor -delete \
 && /opt/processor/bin/python3 -m compileall -q -f --invalidation-mode unchecked-hash /opt/processor/lib \
 && mkdir -p /var/lib/processor \
 && find /opt/processor /var/lib/processor -exec touch --no-dereference --date="@${SOURCE_DATE_EPOCH}" {} +

# hadolint ignore=DL3006
FROM ${RUNTIME_IMAGE}
ARG VERSION=0.2.0
ARG REVISION=unknown
ARG CREATED=1970-01-01T00:00:00Z
# Where the sources are: empty where the builder does not say it.
ARG SOURCE=
ARG RUNTIME_IMAGE
LABEL org.opencontainers.image.title="onboarding-processor" \
      org.opencontainers.image.description="Onboarding requests from Kafka, run as workflows at a provider's HTTP API" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.created="${CREATED}" \
      org.opencontainers.image.source="${SOURCE}" \
      org.opencontainers.image.base.name="${RUNTIME_IMAGE}"
ENV PATH=/opt/processor/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    IMAGE_REVISION="${REVISION}" \
    PROCESSOR_STATE__DIRECTORY=/var/lib/processor
COPY --from=build /opt/processor /opt/processor
# The user is given by number, so that Kubernetes can prove that it is not root.
COPY --from=build --chown=10001:10001 /var/lib/processor /var/lib/processor
USER 10001:10001
VOLUME /var/lib/processor
# The webhook port and the operations port.
EXPOSE 8080 8081
# The roles drain on it: open runs are awaited, work is committed, the group is left.
STOPSIGNAL SIGTERM
ENTRYPOINT ["processor"]
CMD ["run"]
