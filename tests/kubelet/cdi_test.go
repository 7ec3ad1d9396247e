// SPDX-License-Identifier: Apache-2.0

// CDI names through a real kubelet's device manager, to the nodes that they stand for.

package kubelet

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"k8s.io/kubernetes/pkg/kubelet/cm/devicemanager"
	kubecontainer "k8s.io/kubernetes/pkg/kubelet/container"
)

// inject does what a container runtime does with the names: gives the container the nodes of the spec.
func (m *machine) inject(names []kubecontainer.CDIDevice) (*devicemanager.DeviceRunContainerOptions, error) {
	var spec struct {
		Kind    string
		Devices []struct {
			Name           string
			ContainerEdits struct{ DeviceNodes []struct{ Path string } }
		}
	}
	text, err := os.ReadFile(m.path("var/run/cdi/gaudi-p2p-habana.ai-gaudi.json"))
	if err == nil {
		err = json.Unmarshal(text, &spec)
	}
	if err != nil {
		return nil, err
	}
	options := &devicemanager.DeviceRunContainerOptions{}
	for _, name := range names {
		found := false
		for _, device := range spec.Devices {
			if spec.Kind+"="+device.Name != name.Name {
				continue
			}
			found = true
			for _, node := range device.ContainerEdits.DeviceNodes {
				options.Devices = append(options.Devices, kubecontainer.DeviceInfo{PathOnHost: node.Path})
			}
		}
		if !found {
			return nil, fmt.Errorf("no spec has %s", name.Name)
		}
	}
	return options, nil
}

// Names that the kubelet remembers lead to the same devices when they have other numbers.
func TestCDINamesOutliveAReboot(t *testing.T) {
	for how, nodes := range map[string]int{"cdi": 0, "both": 7} {
		m := newMachine(t, 8)
		k := newKubelet(t, m.kubeletDir())
		k.start()
		p := m.startPlugin("--inject=" + how)
		k.await(gaudi, all(8))
		two := pod("two", gaudi, 2)
		if err := k.admit(two); err != nil {
			t.Fatal(err)
		}
		for _, when := range []string{"before", "after"} {
			options, err := k.run(two)
			if err != nil {
				t.Fatalf("%s, %s the reboot: %v", how, when, err)
			}
			if len(options.CDIDevices) != 2 || len(options.Devices) != nodes {
				t.Fatalf("%s, %s the reboot: %v and %d nodes", how, when, options.CDIDevices, len(options.Devices))
			}
			injected, err := m.inject(options.CDIDevices)
			if err != nil {
				t.Fatalf("%s, %s the reboot: %v", how, when, err)
			}
			if wrong := m.checkDevices(k.devicesOf(two), injected); wrong != "" {
				t.Errorf("%s, %s the reboot: %s", how, when, wrong)
			}
			if when == "after" {
				break
			}
			k.shutDown()
			p.kill()
			m.reboot()
			k.rebooted = true
			k.start()
			p = m.startPlugin("--inject=" + how)
			k.await(gaudi, all(8))
			if err := k.admit(two); err != nil {
				t.Fatalf("%s: not admitted again: %v", how, err)
			}
		}
	}
}

// A folder that cannot be written costs the names, not the devices.
func TestCDIFallsBackToNodes(t *testing.T) {
	m := newMachine(t, 8)
	k := newKubelet(t, m.kubeletDir())
	m.put("var/run/cdi", "a file in the way")
	k.start()
	p := m.startPlugin("--inject=cdi")
	k.await(gaudi, all(8))
	one := pod("one", gaudi, 1)
	if err := k.admit(one); err != nil {
		t.Fatal(err)
	}
	options, err := k.run(one)
	if err != nil {
		t.Fatal(err)
	}
	if len(options.CDIDevices) != 0 {
		t.Errorf("names were given: %v", options.CDIDevices)
	}
	if wrong := m.checkDevices(k.devicesOf(one), options); wrong != "" {
		t.Error(wrong)
	}
	if !strings.Contains(p.log.String(), "cannot keep CDI specs") {
		t.Error("it was not said")
	}
}
