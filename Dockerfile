# One file, two images from one lock: `serving` (API, landing, migrations) and `batch` (training, Airflow, MLflow).
# `--build-arg MINILM=1` adds what the language model runs on; the model itself comes from Postgres. CODE_COMMIT names the
# commit that versions are to say they were trained by.
FROM python:3.11.14-slim-bookworm AS base
# LightGBM, FAISS and implicit load the system's libgomp.
RUN apt-get update \
 && apt-get install -y --no-install-recommends libgomp1 \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --uid 10001 --no-create-home --home-dir /app --shell /usr/sbin/nologin marquee \
 && install -d -o marquee -g marquee /app /var/lib/marquee /var/lib/airflow /mlruns
ENV PATH=/venv/bin:$PATH \
    HOME=/tmp \
    PYTHONPATH=/app \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    OMP_WAIT_POLICY=PASSIVE \
    OPENBLAS_NUM_THREADS=1
WORKDIR /app

FROM base AS builder
RUN pip install --no-cache-dir uv==0.13.9 && python -m venv --without-pip /venv
ENV UV_COMPILE_BYTECODE=1 UV_NO_CACHE=1

FROM builder AS serving-packages
ARG MINILM=
COPY requirements-serving.lock requirements-minilm.lock ./
RUN uv pip sync --python /venv/bin/python requirements-serving.lock \
 && if [ -n "$MINILM" ]; then uv pip install --require-hashes --python /venv/bin/python -r requirements-minilm.lock; fi

FROM builder AS batch-packages
ARG MINILM=
COPY requirements-batch.lock requirements-minilm.lock ./
RUN uv pip sync --python /venv/bin/python requirements-batch.lock \
 && if [ -n "$MINILM" ]; then uv pip install --require-hashes --python /venv/bin/python -r requirements-minilm.lock; fi

FROM base AS serving
COPY --from=serving-packages /venv /venv
COPY features features
COPY training/__init__.py training/__init__.py
COPY training/bundle training/bundle
COPY serving serving
COPY ops/compose/landing_health.py ops/compose/landing_health.py
USER marquee
CMD ["python", "-m", "serving"]

FROM base AS batch
COPY --from=batch-packages /venv /venv
COPY features features
COPY training training
COPY dags dags
COPY pyproject.toml pyproject.toml
ARG CODE_COMMIT=
ENV MARQUEE_CODE_COMMIT=$CODE_COMMIT
USER marquee
CMD ["python", "-m", "training", "--help"]
