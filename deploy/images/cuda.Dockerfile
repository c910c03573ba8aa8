# An image for machines with NVIDIA cards, from the wheel:
#   pip wheel --no-deps --wheel-dir dist .
#   docker build --file deploy/images/cuda.Dockerfile --tag REGISTRY/curation-assets:0.5.0-cuda .
# PyTorch brings CUDA. The host gives the driver: run it with `--gpus all`, or on Kubernetes with nvidia.com/gpu.
FROM python:3.12-slim

# Triton compiles a small launcher of each kernel on the machine that runs it.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 1000 curation \
    && mkdir -p /project/pools /project/data \
    && chown -R curation /project

# postgres and s3: what a project needs that more than one machine works on.
ARG EXTRAS=images,text,postgres,s3
COPY dist/curation_assets-*.whl /wheels/
# The wheel itself is pinned.
# hadolint ignore=DL3013
RUN wheel="$(echo /wheels/curation_assets-*.whl)" \
    && pip install --no-cache-dir "${wheel}[${EXTRAS}]" \
    && rm -r /wheels

USER 1000
WORKDIR /project
ENV CURATION_HOME=/project \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
CMD ["curation-assets", "--help"]
