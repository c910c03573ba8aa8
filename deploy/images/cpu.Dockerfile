# An image without CUDA, from the wheel:
#   pip wheel --no-deps --wheel-dir dist .
#   docker build --file deploy/images/cpu.Dockerfile --tag REGISTRY/curation-assets:0.5.0-cpu .
FROM python:3.12-slim

RUN useradd --create-home --uid 1000 curation \
    && mkdir -p /project/pools /project/data \
    && chown -R curation /project

# postgres and s3: what a project needs that more than one machine works on.
ARG EXTRAS=images,text,postgres,s3
COPY dist/curation_assets-*.whl /wheels/
# uv finds PyTorch's build for CPUs; the ordinary one brings 4.5 GB of CUDA.
RUN pip install --no-cache-dir "uv==0.9.*" \
    && wheel="$(echo /wheels/curation_assets-*.whl)" \
    && uv pip install --system --no-cache --torch-backend=cpu "${wheel}[${EXTRAS}]" \
    && pip uninstall --yes uv \
    && rm -r /wheels

USER 1000
WORKDIR /project
ENV CURATION_HOME=/project
CMD ["curation-assets", "--help"]
