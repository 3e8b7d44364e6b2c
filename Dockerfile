# The server alone: no shell, no package manager, not root.
#   docker build -t coder-chats-mcp .
# For a client on this machine (stdio): docker run -i --rm -e CODER_URL -e CODER_SESSION_TOKEN coder-chats-mcp
# For a team (HTTP): docker run --rm -p 127.0.0.1:8137:8137 coder-chats-mcp http --url https://coder.example.com --listen :8137 --behind-proxy

FROM --platform=$BUILDPLATFORM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG TARGETOS TARGETARCH
RUN CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH go build -trimpath -ldflags '-s -w' -o /out/coder-chats-mcp .

FROM gcr.io/distroless/static:nonroot
COPY --from=build /out/coder-chats-mcp /coder-chats-mcp
# By number, so that Kubernetes can tell that it is not root.
USER 65532:65532
EXPOSE 8137
ENTRYPOINT ["/coder-chats-mcp"]
