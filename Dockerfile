# One image, both programs: `sharedlogkv-operator` and `sharedlogkv-replica` are on the PATH; the command chooses.
# Any Debian image with Python 3.11 or newer and its venv module is a base. The C compiler, and what else is only needed to
# build, comes from the base's package repositories, and stays out of the image.
ARG BASE_IMAGE=docker.io/library/python:3.11-slim-bookworm

# What pyproject.toml requires, by itself: its other tables (linters, tests) change without a new installation.
FROM ${BASE_IMAGE} AS requirements
COPY pyproject.toml ./
RUN python3 -c 'import tomllib; \
extras = tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]; \
print(*extras["operator"], *extras["replica"], sep="\n")' > /requirements.txt

FROM ${BASE_IMAGE} AS build
# The file of authorities that pip trusts, where the system's are not enough: mount it, and name it here.
ARG PIP_CERT
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
RUN apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends gcc libc6-dev \
    $(python3 -c 'import pathlib, sysconfig; \
header = pathlib.Path(sysconfig.get_path("include"), "Python.h"); print("" if header.exists() else "libpython3-dev")')
# pip lives in a venv of its own and installs into the other one, which therefore holds no pip.
RUN python3 -m venv /build/pip && python3 -m venv --without-pip /app
WORKDIR /build/src

# The dependencies come first, and stay a layer of their own: a change of a source file builds and ships only the sources.
COPY --from=requirements /requirements.txt ./
COPY constraints.txt ./
RUN /build/pip/bin/pip --python /app/bin/python install --no-compile -r requirements.txt -c constraints.txt \
    && find /app/lib -depth -type d \( -name tests -o -name test \) -exec rm -rf {} + \
    && /app/bin/python -m compileall -q --invalidation-mode unchecked-hash /app/lib

# The compiler of the replica runs in pip's venv, and sees the dependencies for their types.
RUN /build/pip/bin/pip install mypy setuptools -c constraints.txt \
    && realpath /app/lib/python3*/site-packages > "$(realpath /build/pip/lib/python3*/site-packages)/app.pth"
# It takes a minute. A layer of its own, so that a change of the operator does not do it again.
COPY setup.py ./
COPY replica replica
RUN SHAREDLOGKV_COMPILE=1 /build/pip/bin/python setup.py -q build_ext \
    --build-lib "/build/compiled/$(cd /app && echo lib/python3*/site-packages)"

COPY LICENSE pyproject.toml ./
COPY operator operator
RUN /build/pip/bin/pip --python /app/bin/python install --no-compile --no-deps --prefix /build/own . \
    && /app/bin/python -m compileall -q -s /build/own -p /app --invalidation-mode unchecked-hash /build/own/lib

FROM ${BASE_IMAGE}
COPY --from=build /app /app
COPY --from=build /build/compiled /app
COPY --from=build /build/own /app
# All byte code is there already, and the root file system may be read-only: Python writes nothing. Whatever number the
# platform runs it as (that of USER is in no passwd file), a library that asks for the user's name gets one.
ENV PATH=/app/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 USER=sharedlogkv
USER 65532:65532
EXPOSE 8080 8081 9090
# A first try without Kafka or Kubernetes; in a cluster every pod says its own command.
CMD ["sharedlogkv-replica", "--log", "memory:"]
ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="SharedLogKV" \
      org.opencontainers.image.description="A key-value store on a shared log, and the Kubernetes operator that runs it" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.licenses="Apache-2.0"
