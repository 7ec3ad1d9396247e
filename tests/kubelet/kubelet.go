// SPDX-License-Identifier: Apache-2.0
//go:build never

// Package kubelet keeps the kubelet in this module's graph; nothing compiles it.
package kubelet

import _ "k8s.io/kubernetes/cmd/kubelet"
