# A static binary on an empty image. Build: docker build --build-arg VERSION="$(git describe --tags --always)" -t laudspeaker .

FROM golang:1.26-bookworm AS build
WORKDIR /src
# Modules first: a change of our own code downloads nothing anew.
COPY go.mod go.sum ./
RUN --mount=type=cache,target=/go/pkg/mod go mod download
COPY . .
ARG VERSION=dev
RUN --mount=type=cache,target=/go/pkg/mod --mount=type=cache,target=/root/.cache/go-build \
    CGO_ENABLED=0 go build -trimpath -buildvcs=false \
      -ldflags "-s -w -X github.com/laudspeaker/laudspeaker/cmd.version=${VERSION}" -o /out/laudspeaker . \
 && install -d -m 0700 /out/root/data

FROM scratch
# The CAs by which gateways and brokers are trusted.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /out/laudspeaker /usr/local/bin/laudspeaker
# A volume takes its owner and mode from what the image has in that place: ours alone may read what is in it.
COPY --from=build --chown=65532:65532 /out/root/ /
USER 65532:65532
ENV LAUDSPEAKER_DATA_DIR=/data
VOLUME /data
# The API and the admin port (/livez /readyz /metrics). Both listen on loopback until the configuration says otherwise;
# the API leaves loopback only with keys: see "Docker" in README.md.
EXPOSE 8080 9100
ENTRYPOINT ["/usr/local/bin/laudspeaker"]
CMD ["all"]
