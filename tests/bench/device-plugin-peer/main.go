// SPDX-License-Identifier: Apache-2.0

// The peer of our device plugin in `make bench`: a Go plugin on
// device-plugin-manager, which AMD's GPU plugin is built on too, that does as
// little as a plugin can. It reads of each Gaudi and each NIC in sysfs, once and
// in the plainest way, what a plugin has to know; it pairs nothing, keeps
// nothing, and prefers nothing. One file tells it which device is not healthy.
//
//	device-plugin-peer SYSFS STATE_DIR
//
// Resource bench.test/device; the id of a device is its PCI address. A change in
// STATE_DIR makes it read STATE_DIR/state again: if that is not "free", the
// first device is unhealthy.
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

type device struct {
	id, number, state string
	numa              int64
}

type lister struct {
	device []device
	number map[string]string // of a device id
	nics   int
	dir    string
}

func attribute(path ...string) string {
	text, _ := os.ReadFile(filepath.Join(path...))
	return strings.TrimSpace(string(text))
}

// discover reads sysfs.
func (l *lister) discover(sysfs string) error {
	class := filepath.Join(sysfs, "class/accel")
	entries, err := os.ReadDir(class)
	if err != nil {
		return err
	}
	l.number = map[string]string{}
	for _, entry := range entries {
		number := strings.TrimPrefix(entry.Name(), "accel")
		if _, err := strconv.Atoi(number); err != nil {
			continue
		}
		// The class entry leads to ADDRESS/accel/accelN.
		link, err := os.Readlink(filepath.Join(class, entry.Name()))
		if err != nil {
			return err
		}
		dir := filepath.Join(class, filepath.Dir(filepath.Dir(link)))
		driver, err := os.Readlink(filepath.Join(dir, "driver"))
		if err != nil || filepath.Base(driver) != "gaudi_p2p" {
			continue
		}
		numa, _ := strconv.ParseInt(attribute(dir, "numa_node"), 10, 64)
		d := device{id: filepath.Base(dir), number: number, state: attribute(dir, "state"), numa: numa}
		_ = attribute(dir, "module_id")
		l.device = append(l.device, d)
		l.number[d.id] = number
	}
	class = filepath.Join(sysfs, "class/infiniband_verbs")
	if entries, err = os.ReadDir(class); err != nil {
		return err
	}
	for _, entry := range entries {
		link, err := os.Readlink(filepath.Join(class, entry.Name()))
		if err != nil {
			return err
		}
		if attribute(class, entry.Name(), "ibdev") != "" && attribute(class, filepath.Dir(filepath.Dir(link)), "numa_node") != "" {
			l.nics++
		}
	}
	return nil
}

func (l *lister) GetResourceNamespace() string              { return "bench.test" }
func (l *lister) Discover(names chan dpm.PluginNameList)    { names <- dpm.PluginNameList{"device"} }
func (l *lister) NewPlugin(name string) dpm.PluginInterface { return &plugin{lister: l} }

type plugin struct {
	dp.UnimplementedDevicePluginServer
	*lister
}

func (p *plugin) devices() []*dp.Device {
	list := make([]*dp.Device, 0, len(p.device))
	for _, d := range p.device {
		list = append(list, &dp.Device{ID: d.id, Health: dp.Healthy,
			Topology: &dp.TopologyInfo{Nodes: []*dp.NUMANode{{ID: d.numa}}}})
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
			number, found := p.number[id]
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
		fmt.Fprintln(os.Stderr, "usage: device-plugin-peer SYSFS STATE_DIR")
		os.Exit(2)
	}
	l := &lister{dir: os.Args[2]}
	if err := l.discover(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	dpm.NewManager(l).Run()
}
