# The client. Configure it with environment variables (docs/configuration.md) or with flags after the image's name.
FROM python:3.12-slim AS compiled

# The compiled part is optional and makes the program faster. Without a network or a compiler, the image goes without.
RUN { apt-get update && apt-get install --yes --no-install-recommends gcc libc6-dev; } || echo "no compiler: see above"
WORKDIR /app
COPY tools/build_speedups.py tools/
COPY src/ src/
RUN python3 tools/build_speedups.py || echo "no compiled part: see above"


FROM python:3.12-slim

ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 LOGFERRY_STATE_DIR=/state

# A new named volume takes over the owner of /state, so that the user below can write there.
RUN useradd --system --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin logferry \
    && install --directory --owner=logferry --group=logferry --mode=0700 /state

WORKDIR /app
COPY main.py ./
COPY tools/container_health.py tools/
COPY --from=compiled /app/src/ src/
# `logferry status` and the other commands, for `docker exec` and `docker compose exec`.
RUN printf '#!/bin/sh\nPYTHONPATH=/app/src exec python3 -m logferry "$@"\n' > /usr/local/bin/logferry \
    && chmod 0755 /usr/local/bin/logferry
# Readable for the user below, whatever umask the checkout was created with.
RUN chmod -R a+rX .

# A number, not a name: Kubernetes' runAsNonRoot can only check numbers.
USER 10001:10001

# Healthy: the server that this client ships to accepts connections.
HEALTHCHECK --interval=30s --timeout=5s --start-period=10s --retries=3 \
    CMD ["python3", "-S", "tools/container_health.py"]

ENTRYPOINT ["python3", "main.py"]
