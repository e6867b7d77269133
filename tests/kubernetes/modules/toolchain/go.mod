// The Go that builds Kubernetes, for who has an older one. go.sum holds each architecture.
module cluster.test/toolchain

go 1.19
