// SPDX-License-Identifier: Apache-2.0
module gaudi-p2p.test/device-plugin-peer

go 1.26.0

require (
	github.com/fsnotify/fsnotify v1.9.0
	github.com/kubevirt/device-plugin-manager v1.19.5
	k8s.io/kubelet v0.37.2
)

require (
	github.com/golang/glog v1.2.5 // indirect
	golang.org/x/net v0.60.0 // indirect
	golang.org/x/sys v0.48.0 // indirect
	golang.org/x/text v0.42.0 // indirect
	google.golang.org/genproto/googleapis/rpc v0.0.0-20261019180522-ce908d29299b // indirect
	google.golang.org/grpc v1.85.0 // indirect
	google.golang.org/protobuf v1.36.12 // indirect
)
