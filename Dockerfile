# Image of LRPServe. Works with both of Docker's builders and Podman's: it uses no BuildKit syntax, only Python and pip.
#   docker build --tag lrpserve .
#   docker build --tag lrpserve --build-arg TORCH_INDEX=... .   with another index for torch, such as PyTorch's CPU wheels
#   docker build --tag lrpserve:ray --build-arg EXTRAS="ray parquet" .   with Ray, for deploy/kuberay.yaml
ARG BASE=python:3.12-slim


# The service's dependencies: a large layer that changes only with the pinned versions.
FROM ${BASE} AS dependencies
ARG TORCH_INDEX=""
ARG EXTRAS=""
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_QUIET=1 PIP_ROOT_USER_ACTION=ignore PIP_PYTHON=/opt/venv/bin/python
WORKDIR /src
# Without pip, so that nothing can be installed into the running image.
RUN python -m venv --without-pip /opt/venv
COPY pyproject.toml constraints.txt ./
# Removes files that are not used at run time: headers, libraries and tests for C++, and Triton, which only torch.compile
# uses and which needs a compiler. torch does not start without torch_shm_manager.
RUN python -c "import sys, tomllib; project = tomllib.load(open('pyproject.toml', 'rb'))['project']; print(*project['dependencies'], *(one for extra in sys.argv[1:] for one in project['optional-dependencies'][extra] if not one.startswith(project['name'])), sep='\n')" \
      $EXTRAS > requirements.txt \
 && pip install ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"} --constraint constraints.txt --requirement requirements.txt \
 && cd /opt/venv/lib/python3.*/site-packages \
 && rm -rf triton triton-* torch/include torch/share torch/test nvidia/*/include \
 && find torch/bin -type f ! -name torch_shm_manager -delete \
 && find . -name '*.a' -delete


# The service itself: a small layer.
FROM dependencies AS build
COPY README.md LICENSE ./
COPY model_weights model_weights
COPY app app
RUN pip install --no-deps --target /opt/lrpserve .


# The tests, with the same dependencies and the same user: docker compose run --rm test
FROM build AS test
RUN pip install --constraint constraints.txt '.[test]'
COPY . .
ENV PATH=/opt/venv/bin:$PATH PYTHONDONTWRITEBYTECODE=1 HOME=/tmp HYPOTHESIS_STORAGE_DIRECTORY=/tmp/hypothesis
USER 10001:10001
ENTRYPOINT ["python", "-m", "pytest", "-p", "no:cacheprovider"]


FROM ${BASE} AS serve
COPY --from=dependencies /opt/venv /opt/venv
COPY --from=build /opt/lrpserve /opt/lrpserve
# Only /tmp is written to: larger uploads are stored there while they arrive.
ENV PATH=/opt/lrpserve/bin:/opt/venv/bin:$PATH PYTHONPATH=/opt/lrpserve PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 \
    HOME=/tmp LRP_HOST=0.0.0.0 LRP_PORT=8000
EXPOSE 8000
# A number, so that Kubernetes can verify that it is not root. Any other number works, as this user owns no files.
USER 10001:10001
# http.client rather than urllib, which would use a proxy from the environment.
HEALTHCHECK --interval=5s --timeout=3s --start-period=60s --retries=3 CMD ["python", "-c", "import http.client, os, sys; probe = http.client.HTTPConnection('127.0.0.1', int(os.environ['LRP_PORT']), timeout=2); probe.request('GET', '/readyz'); sys.exit(probe.getresponse().status != 200)"]
# The exec form makes the service process 1, so that it receives SIGTERM.
ENTRYPOINT ["lrpserve"]
CMD ["serve"]
ARG VERSION=""
ARG REVISION=""
LABEL org.opencontainers.image.title="LRPServe" \
      org.opencontainers.image.description="Predictions and their relevance for pictures, texts and rows of tables, over HTTP" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
