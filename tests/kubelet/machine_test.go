// SPDX-License-Identifier: Apache-2.0

package kubelet

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"k8s.io/kubernetes/pkg/kubelet/cm/devicemanager"
)

const gaudi = "habana.ai/gaudi"

// machine is a node made of files: Gaudis and NICs in sysfs, device nodes, and
// the folders of the kubelet and the plugin. Two Gaudis and two NICs hang below
// each switch; the first half of the switches is on NUMA node 0, the rest on 1.
type machine struct {
	t     testing.TB
	root  string
	n     int
	accel []int // number of the accel node of each Gaudi
	verbs []int // number of the verbs node of each NIC
}

func newMachine(t testing.TB, n int) *machine {
	// Not t.TempDir(): a Unix socket's path has 107 bytes.
	root, err := os.MkdirTemp("/tmp", "kubelet")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(root) })
	m := &machine{t: t, root: root, n: n}
	for i := 0; i < n; i++ {
		m.accel, m.verbs = append(m.accel, i), append(m.verbs, i)
	}
	m.plug()
	return m
}

func (m *machine) path(parts ...string) string {
	return filepath.Join(append([]string{m.root}, parts...)...)
}

func (m *machine) kubeletDir() string { return m.path("var/lib/kubelet/device-plugins") }

func (m *machine) put(path, text string) {
	m.t.Helper()
	path = m.path(path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		m.t.Fatal(err)
	}
	// Whole at once, as an attribute is.
	if err := os.WriteFile(path+".tmp", []byte(text), 0o644); err != nil {
		m.t.Fatal(err)
	}
	if err := os.Rename(path+".tmp", path); err != nil {
		m.t.Fatal(err)
	}
}

func (m *machine) link(path, target string) {
	m.t.Helper()
	full := m.path(path)
	if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
		m.t.Fatal(err)
	}
	relative, err := filepath.Rel(filepath.Dir(full), m.path(target))
	if err == nil {
		err = os.Symlink(relative, full)
	}
	if err != nil {
		m.t.Fatal(err)
	}
}

// slot is the folder in sysfs and the PCI address of what sits in a slot (0 to
// 3) below a switch. Each switch is a PCI domain of its own.
func slot(sw, i int) (dir, address string) {
	address = fmt.Sprintf("%04x:%02x:00.0", sw, 0x19+i)
	return fmt.Sprintf("sys/devices/pci%04x:16/%04x:16:01.0/%04x:17:00.0/%04x:18:%02x.0/%s", sw, sw, sw, sw, i, address), address
}

func gaudiSlot(i int) (dir, address string) { return slot(i/2, i%2) }
func nicSlot(i int) (dir, address string)   { return slot(i/2, 2+i%2) }

func id(i int) string { _, address := gaudiSlot(i); return address }

func (m *machine) numa(i int) string {
	if i < m.n/2 {
		return "0\n"
	}
	return "1\n"
}

// plug makes sysfs and the device nodes, with the numbers that accel and verbs say.
func (m *machine) plug() {
	for i := 0; i < m.n; i++ {
		m.plugGaudi(i)
		m.plugNIC(i)
	}
	m.put("sys/class/misc/rdma_cm/dev", "10:58\n")
	m.put("dev/infiniband/rdma_cm", "rdma_cm")
	for _, dir := range []string{"sys/class/infiniband", "var/lib/gaudi-p2p"} {
		if err := os.MkdirAll(m.path(dir), 0o755); err != nil {
			m.t.Fatal(err)
		}
	}
}

func (m *machine) plugGaudi(i int) {
	dir, address := gaudiSlot(i)
	m.put(dir+"/numa_node", m.numa(i))
	m.put("sys/bus/pci/drivers/gaudi_p2p/module", "")
	m.link(dir+"/driver", "sys/bus/pci/drivers/gaudi_p2p")
	for name, text := range map[string]string{"device_type": "GAUDI2", "pci_addr": address, "status": "Operational",
		"module_id": fmt.Sprint(i % 8), "reason": ""} {
		m.put(dir+"/"+name, text+"\n")
	}
	m.setState(i, "free")
	for name, minor := range map[string]int{fmt.Sprintf("accel%d", m.accel[i]): m.accel[i],
		fmt.Sprintf("accel_controlD%d", m.accel[i]): m.accel[i] + 64} {
		m.put(fmt.Sprintf("%s/accel/%s/dev", dir, name), fmt.Sprintf("261:%d\n", minor))
		m.link(fmt.Sprintf("%s/accel/%s/device", dir, name), dir)
		m.link("sys/class/accel/"+name, fmt.Sprintf("%s/accel/%s", dir, name))
		m.put("dev/accel/"+name, strings.TrimRight(name, "0123456789")+" of "+address)
	}
}

func (m *machine) plugNIC(i int) {
	dir, address := nicSlot(i)
	rdma, verbs := fmt.Sprintf("mlx5_%d", i), fmt.Sprintf("uverbs%d", m.verbs[i])
	m.put(dir+"/numa_node", m.numa(i))
	m.put("sys/bus/pci/drivers/mlx5_core/module", "")
	m.link(dir+"/driver", "sys/bus/pci/drivers/mlx5_core")
	m.put(dir+"/infiniband_verbs/"+verbs+"/ibdev", rdma+"\n")
	m.put(dir+"/infiniband_verbs/"+verbs+"/dev", fmt.Sprintf("231:%d\n", 192+m.verbs[i]))
	m.link(dir+"/infiniband_verbs/"+verbs+"/device", dir)
	m.link("sys/class/infiniband_verbs/"+verbs, dir+"/infiniband_verbs/"+verbs)
	m.put(dir+"/infiniband/"+rdma+"/node_guid", fmt.Sprintf("0c42:a103:00aa:%04x\n", i))
	m.link(dir+"/infiniband/"+rdma+"/device", dir)
	m.link("sys/class/infiniband/"+rdma, dir+"/infiniband/"+rdma)
	m.put(dir+"/net/"+fmt.Sprintf("ens%d", i)+"/address", fmt.Sprintf("02:00:00:00:00:%02x\n", i%256))
	m.link("sys/class/net/"+fmt.Sprintf("ens%d", i), dir+"/net/"+fmt.Sprintf("ens%d", i))
	m.put("dev/infiniband/"+verbs, "uverbs of "+address)
}

func (m *machine) remove(path string) {
	if err := removeAll(m.path(path)); err != nil {
		m.t.Fatal(err)
	}
}

// removeAll is os.RemoveAll, but for a directory into which the plugin puts a socket meanwhile.
func removeAll(path string) error {
	err := os.RemoveAll(path)
	for i := 0; errors.Is(err, syscall.ENOTEMPTY) && i < 1000; i++ {
		err = os.RemoveAll(path)
	}
	return err
}

// unplugGaudi takes a card out, in the order in which the kernel does.
func (m *machine) unplugGaudi(i int) {
	dir, _ := gaudiSlot(i)
	for _, name := range []string{"accel", "accel_controlD"} {
		m.remove(fmt.Sprintf("sys/class/accel/%s%d", name, m.accel[i]))
		m.remove(fmt.Sprintf("dev/accel/%s%d", name, m.accel[i]))
	}
	m.remove(dir)
}

// reboot gives every device another number, as a boot may; /run and /dev are
// new, /var stays.
func (m *machine) reboot() {
	for _, dir := range []string{"sys", "dev", "run", "var/run"} {
		m.remove(dir)
	}
	n := m.n
	for i := range m.accel {
		m.accel[i] = n - 1 - m.accel[i]
		m.verbs[i] = (m.verbs[i] + 3) % n
	}
	m.plug()
}

func (m *machine) setState(i int, state string) {
	dir, _ := gaudiSlot(i)
	m.put(dir+"/state", state+"\n")
}

// behind says what device a path on the host leads to; "" for none.
func (m *machine) behind(path string) string {
	for step := 0; step < 8; step++ {
		target, err := os.Readlink(m.path(path))
		if err != nil {
			break
		}
		if !filepath.IsAbs(target) {
			target = filepath.Join(filepath.Dir(path), target)
		}
		path = target
	}
	text, _ := os.ReadFile(m.path(path))
	return string(text)
}

// checkDevices says what is wrong with the devices that a container of these
// Gaudis gets; "" for nothing.
func (m *machine) checkDevices(ids []string, options *devicemanager.DeviceRunContainerOptions) string {
	want, got := map[string]bool{"rdma_cm": true}, map[string]bool{}
	for i := 0; i < m.n; i++ {
		_, address := gaudiSlot(i)
		_, nic := nicSlot(i)
		for _, id := range ids {
			if id == address {
				want["accel of "+address], want["accel_controlD of "+address], want["uverbs of "+nic] = true, true, true
			}
		}
	}
	for _, device := range options.Devices {
		behind := m.behind(device.PathOnHost)
		if !want[behind] {
			return fmt.Sprintf("%s leads to %q", device.PathOnHost, behind)
		}
		got[behind] = true
	}
	if len(got) != len(want) {
		return fmt.Sprintf("got %v instead of %v", got, want)
	}
	return ""
}

// checkPairs says what is wrong with the pairing file; "" for nothing.
func (m *machine) checkPairs() string {
	text, err := os.ReadFile(m.path("var/lib/gaudi-p2p/pairs.json"))
	if err != nil {
		return err.Error()
	}
	if !json.Valid(text) {
		return fmt.Sprintf("pairs.json is no JSON: %q", text)
	}
	for i := 0; i < m.n; i++ {
		_, nic := nicSlot(i)
		if !bytes.Contains(text, []byte(id(i))) || !bytes.Contains(text, []byte(nic)) {
			return fmt.Sprintf("pairs.json has no pair of %s with %s", id(i), nic)
		}
	}
	return ""
}

// --- the plugin ----------------------------------------------------------------

// plugin is a running gaudi-device-plugin.
type plugin struct {
	t   testing.TB
	cmd *exec.Cmd
	log logBuffer
	end chan struct{}
}

type logBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// startPlugin starts the program that DEVICE_PLUGIN names.
func (m *machine) startPlugin(options ...string) *plugin {
	m.t.Helper()
	return m.start(os.Getenv("DEVICE_PLUGIN"), append([]string{"--sysroot=" + m.root, "--rescan=100"}, options...)...)
}

func (m *machine) start(program string, options ...string) *plugin {
	m.t.Helper()
	p := &plugin{t: m.t, cmd: exec.Command(program, options...), end: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = &p.log, &p.log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		m.t.Fatal(err)
	}
	go func() {
		p.cmd.Wait()
		close(p.end)
	}()
	m.t.Cleanup(func() {
		p.kill()
		if m.t.Failed() {
			m.t.Logf("log of the plugin:\n%s", &p.log)
		}
	})
	return p
}

func (p *plugin) kill() {
	p.cmd.Process.Kill()
	<-p.end
}

// terminate ends it as the kubelet ends a container.
func (p *plugin) terminate() {
	p.t.Helper()
	p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.end:
	case <-time.After(patience):
		p.t.Fatal("the plugin does not end on SIGTERM")
	}
	if code := p.cmd.ProcessState.ExitCode(); code != 0 {
		p.t.Errorf("the plugin ended with %d", code)
	}
}

func (p *plugin) lives() bool {
	select {
	case <-p.end:
		return false
	default:
		return true
	}
}

// says waits until the plugin's log has had something that many times.
func (p *plugin) says(t *testing.T, what string, times int) {
	t.Helper()
	await(t, fmt.Sprintf("the plugin to say %q %d times", what, times), func() (bool, string) {
		n := strings.Count(p.log.String(), what)
		return n >= times, fmt.Sprintf("said %d times", n)
	})
}
