# The front door as an image: a static Swift runtime on a small Debian, run by a user without rights.
#
#   docker build -t portico .
#   docker run -p 8080:8080 portico                                   the welcome page
#   docker run -p 8080:8080 -v ./my.conf:/etc/portico/portico.conf:ro portico
#   docker run -p 8080:8080 -v ./public:/srv:ro portico serve /srv --https 0
#   docker kill -s HUP NAME                                           reload
FROM swift:6.3-bookworm AS build
RUN pkg-config --exists libssl libpcre2-8 libcares libnghttp2 zlib || { apt-get update \
  && apt-get install -y --no-install-recommends pkg-config libssl-dev libpcre2-dev libc-ares-dev libnghttp2-dev zlib1g-dev libcrypt-dev \
  && rm -rf /var/lib/apt/lists/*; }
WORKDIR /src
COPY Package.swift Package.resolved ./
COPY Sources Sources
# Only their folders are needed: the manifest names them.
COPY Tests Tests
RUN --mount=type=cache,id=portico-build,target=/src/.build \
  swift build -c release --force-resolved-versions --static-swift-stdlib --product portico \
  && install -s .build/release/portico /usr/local/bin/portico

FROM debian:bookworm-slim
RUN apt-get update \
  && apt-get install -y --no-install-recommends ca-certificates libssl3 libpcre2-8-0 libc-ares2 libnghttp2-14 zlib1g libcrypt1 \
  && rm -rf /var/lib/apt/lists/* /var/log/apt /var/log/dpkg.log /var/cache/debconf \
  && groupadd --gid 10001 portico \
  && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /var/lib/portico --shell /usr/sbin/nologin \
    portico \
  && install -d -o portico -g portico /var/lib/portico /var/lib/portico/logs
COPY --from=build /usr/local/bin/portico /usr/local/bin/portico
COPY deploy/docker/portico.conf conf/mime.types /etc/portico/
COPY deploy/docker/conf.d /etc/portico/conf.d
COPY site /usr/share/portico/site
# By number, so that Kubernetes can see that it is not root.
USER 10001:10001
EXPOSE 8080 8443
# In-flight requests are finished; see worker_shutdown_timeout for how long that may take.
STOPSIGNAL SIGQUIT
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s --retries=3 \
  CMD ["portico", "check", "http://127.0.0.1:8080/healthz"]
ENTRYPOINT ["portico"]
CMD ["-e", "stderr", "-p", "/var/lib/portico", "-c", "/etc/portico/portico.conf"]
