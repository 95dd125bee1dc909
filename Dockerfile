# One image for the web process, the worker, beat and the migrations; the command says which.
FROM python:3.13-slim-bookworm AS build
RUN pip install --no-cache-dir uv==0.13.9
ENV UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy UV_PYTHON_DOWNLOADS=never UV_PROJECT_ENVIRONMENT=/srv/portal/.venv
WORKDIR /srv/portal
# The packages first: they change less often than the code.
COPY pyproject.toml uv.lock ./
RUN uv sync --frozen --no-dev
COPY manage.py ./
COPY portal ./portal
COPY audit ./audit
COPY groups ./groups
COPY projects ./projects
COPY tokens ./tokens
COPY apikeys ./apikeys
COPY templates ./templates
COPY static ./static
# Addresses and secrets are the deployment's; collecting files needs none of them to be real.
RUN DATABASE_URL=postgresql://build/portal REDIS_URL=redis://build PORTAL_SECRET_KEY=build \
    PORTAL_STATIC_ROOT=/srv/portal/collected \
    .venv/bin/python manage.py collectstatic --no-input --verbosity 0

FROM python:3.13-slim-bookworm
RUN useradd --system --uid 10001 --home-dir /srv/portal --shell /usr/sbin/nologin portal
WORKDIR /srv/portal
COPY --from=build /srv/portal /srv/portal
ENV PATH=/srv/portal/.venv/bin:$PATH \
    PORTAL_STATIC_ROOT=/srv/portal/collected \
    PYTHONUNBUFFERED=1
USER 10001
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/livez', timeout=2)"]
# On SIGTERM: not ready for 5 s, then nothing new, then 25 s for what is in flight.
CMD ["python", "-m", "portal.serve"]
