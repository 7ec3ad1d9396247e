// SPDX-License-Identifier: Apache-2.0

// The peer of our device plugin in `make bench`: a Go plugin on
// device-plugin-manager, which AMD's GPU plugin is built on too. It discovers
// nothing: it is told how many devices there are, and a file says whether the
// first one is healthy. So it costs less than any Go plugin in real use.
//
//	device-plugin-peer N STATE_DIR
//
// Resource bench.test/device, devices device-0 to device-(N-1). A change in
// STATE_DIR makes it read STATE_DIR/state again: "free" is healthy.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/fsnotify/fsnotify"
	"github.com/kubevirt/device-plugin-manager/pkg/dpm"
	dp "k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1"
)

type lister struct {
	n   int
	dir string
}

func (l *lister) GetResourceNamespace() string              { return "bench.test" }
func (l *lister) Discover(names chan dpm.PluginNameList)    { names <- dpm.PluginNameList{"device"} }
func (l *lister) NewPlugin(name string) dpm.PluginInterface { return &plugin{lister: l} }

type plugin struct {
	dp.UnimplementedDevicePluginServer
	*lister
}

func (p *plugin) devices() []*dp.Device {
	list := make([]*dp.Device, 0, p.n)
	for i := 0; i < p.n; i++ {
		list = append(list, &dp.Device{ID: fmt.Sprintf("device-%d", i), Health: dp.Healthy,
			Topology: &dp.TopologyInfo{Nodes: []*dp.NUMANode{{ID: int64(i % 2)}}}})
	}
	if text, err := os.ReadFile(filepath.Join(p.dir, "state")); err == nil && strings.TrimSpace(string(text)) != "free" {
		list[0].Health = dp.Unhealthy
	}
	return list
}

func (p *plugin) GetDevicePluginOptions(context.Context, *dp.Empty) (*dp.DevicePluginOptions, error) {
	return &dp.DevicePluginOptions{PreStartRequired: true, GetPreferredAllocationAvailable: true}, nil
}

func (p *plugin) ListAndWatch(_ *dp.Empty, stream dp.DevicePlugin_ListAndWatchServer) error {
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		return err
	}
	defer watcher.Close()
	if err := watcher.Add(p.dir); err != nil {
		return err
	}
	for {
		if err := stream.Send(&dp.ListAndWatchResponse{Devices: p.devices()}); err != nil {
			return err
		}
		for changed := false; !changed; {
			select {
			case event := <-watcher.Events:
				changed = filepath.Base(event.Name) == "state"
			case err := <-watcher.Errors:
				return err
			case <-stream.Context().Done():
				return nil
			}
		}
	}
}

// Allocate gives per device what ours gives: three nodes, and variables for all.
func (p *plugin) Allocate(_ context.Context, r *dp.AllocateRequest) (*dp.AllocateResponse, error) {
	answer := &dp.AllocateResponse{}
	for _, request := range r.ContainerRequests {
		container := &dp.ContainerAllocateResponse{Envs: map[string]string{}}
		var numbers []string
		for _, id := range request.DevicesIds {
			number, found := strings.CutPrefix(id, "device-")
			if !found {
				return nil, errors.New("no device " + id)
			}
			numbers = append(numbers, number)
			for _, node := range []string{"accel/accel", "accel/accel_controlD", "infiniband/uverbs"} {
				container.Devices = append(container.Devices, &dp.DeviceSpec{ContainerPath: "/dev/" + node + number,
					HostPath: "/dev/" + node + number, Permissions: "rw"})
			}
		}
		for _, name := range []string{"PAIRS", "VISIBLE_DEVICES", "VISIBLE_PATHS", "VISIBLE_UUID", "VISIBLE_MODULES"} {
			container.Envs[name] = strings.Join(numbers, ",")
		}
		answer.ContainerResponses = append(answer.ContainerResponses, container)
	}
	return answer, nil
}

func (p *plugin) PreStartContainer(context.Context, *dp.PreStartContainerRequest) (*dp.PreStartContainerResponse, error) {
	return &dp.PreStartContainerResponse{}, nil
}

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: device-plugin-peer N STATE_DIR")
		os.Exit(2)
	}
	n, err := strconv.Atoi(os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	dir := os.Args[2]
	dpm.NewManager(&lister{n: n, dir: dir}).Run()
}
