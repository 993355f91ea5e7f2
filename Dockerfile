# One file, four images: gateway, worker, slack and opa. None runs as root, none writes to its own file system.
#   docker build --target gateway -t opsgate-gateway .
ARG PYTHON_IMAGE=python:3.12-slim-bookworm
ARG OPA_IMAGE=openpolicyagent/opa:1.22.2-static

FROM ${OPA_IMAGE} AS opa-binary

FROM ${PYTHON_IMAGE} AS base
ENV PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    PATH=/venv/bin:$PATH
RUN groupadd --gid 10001 opsgate && useradd --uid 10001 --gid 10001 --no-create-home --shell /usr/sbin/nologin opsgate
WORKDIR /app

# Each image gets only its own dependencies, in the versions and with the hashes of requirements.lock.
FROM base AS build
ENV UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy UV_PYTHON=/venv/bin/python
RUN pip install --no-cache-dir uv==0.13.9 && python -m venv --without-pip /venv
COPY pyproject.toml requirements.lock ./

FROM build AS gateway-build
RUN uv pip install --verify-hashes --constraint requirements.lock --requirement pyproject.toml --extra gateway
FROM build AS worker-build
RUN uv pip install --verify-hashes --constraint requirements.lock --requirement pyproject.toml --extra workers
FROM build AS slack-build
RUN uv pip install --verify-hashes --constraint requirements.lock --requirement pyproject.toml --extra slack

# A policy that does not compile stops the build here; the bundle carries the revision of its contents.
FROM gateway-build AS policies
COPY --from=opa-binary /opa /usr/local/bin/opa
COPY dev ./dev
COPY policies ./policies
RUN python -m dev.policies --policies policies --out /bundle.tar.gz

FROM opa-binary AS opa
COPY --from=policies /bundle.tar.gz /policies/bundle.tar.gz
ENV GOGC=400
USER 1000:1000
EXPOSE 8181
ENTRYPOINT ["/opa"]
CMD ["run", "--server", "--addr", ":8181", "--log-level", "error", "--skip-version-check", "--bundle", "/policies/bundle.tar.gz"]

FROM base AS gateway
COPY --from=gateway-build /venv /venv
COPY opsgate ./opsgate
COPY gateway ./gateway
COPY commands ./commands
USER 10001:10001
EXPOSE 8420
CMD ["python", "-m", "gateway"]

FROM base AS worker
COPY --from=worker-build /venv /venv
COPY opsgate ./opsgate
COPY workers ./workers
USER 10001:10001
CMD ["python", "-m", "workers"]

FROM base AS slack
COPY --from=slack-build /venv /venv
COPY opsgate ./opsgate
COPY adapters ./adapters
RUN install --directory --owner opsgate --group opsgate /state
USER 10001:10001
EXPOSE 8430
CMD ["python", "-m", "adapters.slack"]
