//go:build tests

// Package upstream keeps in go.mod what upstream's tests need, which are built from this module.
package upstream

import (
	_ "github.com/google/go-cmp/cmp"
	_ "github.com/stretchr/testify/require"
	_ "google.golang.org/grpc"
	_ "k8s.io/client-go/tools/remotecommand"
	_ "sigs.k8s.io/agent-sandbox/packages/sandboxd/spec/process/v1"
	_ "sigs.k8s.io/agent-sandbox/test/e2e"
	_ "sigs.k8s.io/agent-sandbox/test/e2e/framework"
)
