// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	oci "github.com/opencontainers/runtime-spec/specs-go"
	"tags.cncf.io/container-device-interface/pkg/cdi"
	"tags.cncf.io/container-device-interface/pkg/parser"
)

// Makes a recorded tree (see tests/unit/fakefs.h) below root.
func loadTree(t *testing.T, root, manifest string) {
	t.Helper()
	file, err := os.Open(manifest)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	unescape := strings.NewReplacer(`\n`, "\n", `\t`, "\t", `\\`, `\`)
	for lines := bufio.NewScanner(file); lines.Scan(); {
		path, content, found := strings.Cut(lines.Text(), "\t")
		if path == "" || strings.HasPrefix(path, "#") {
			continue
		}
		path = filepath.Join(root, path)
		if !found {
			err = os.MkdirAll(path, 0o755)
		} else if err = os.MkdirAll(filepath.Dir(path), 0o755); err == nil {
			if target, isLink := strings.CutPrefix(content, "-> "); isLink {
				err = os.Symlink(target, path)
			} else {
				err = os.WriteFile(path, []byte(unescape.Replace(content)), 0o644)
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// Runs the plugin on a recorded node until its spec is there; returns the folder of specs.
func specsOf(t *testing.T, tree string) string {
	t.Helper()
	root := t.TempDir()
	loadTree(t, root, filepath.Join(os.Getenv("TREES"), tree))
	plugin := exec.Command(os.Getenv("DEVICE_PLUGIN"), "--sysroot="+root, "--inject=cdi", "--log-level=error")
	plugin.Stderr = os.Stderr
	if err := plugin.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = plugin.Process.Signal(syscall.SIGTERM)
		_ = plugin.Wait()
	})
	dir := filepath.Join(root, "var/run/cdi")
	for end := time.Now().Add(limit); ; time.Sleep(10 * time.Millisecond) {
		if _, err := os.Stat(filepath.Join(dir, "gaudi-p2p-habana.ai-gaudi.json")); err == nil {
			return dir
		}
		if time.Now().After(end) {
			t.Fatal("no spec was written")
		}
	}
}

func cacheOf(t *testing.T, dir string, devices int) *cdi.Cache {
	t.Helper()
	cache, err := cdi.NewCache(cdi.WithSpecDirs(dir), cdi.WithAutoRefresh(false))
	if err != nil {
		t.Fatal(err)
	}
	for path, errs := range cache.GetErrors() {
		t.Errorf("%s: %v", path, errs)
	}
	if names := cache.ListDevices(); len(names) != devices {
		t.Fatalf("the runtime knows %v", names)
	}
	return cache
}

func TestCDISpecsAreValidForTheRuntimesLibrary(t *testing.T) {
	for tree, devices := range map[string]int{"lab.tree": 2, "eight-four.tree": 8, "twelve.tree": 12} {
		cache := cacheOf(t, specsOf(t, tree), devices)
		for _, name := range cache.ListDevices() {
			if vendor, class, _, err := parser.ParseQualifiedName(name); err != nil || vendor != "habana.ai" || class != "gaudi" {
				t.Errorf("%s: %s: %v", tree, name, err)
			}
		}
	}
}

// The cards of a recorded node have no nodes here: another device plays each.
func playNodes(device *cdi.Device, host string) {
	for _, node := range device.ContainerEdits.DeviceNodes {
		node.HostPath = host
	}
}

func TestCDIInjectsTheNodesOfAllDevicesOnce(t *testing.T) {
	cache := cacheOf(t, specsOf(t, "lab.tree"), 2)
	for _, name := range cache.ListDevices() {
		playNodes(cache.GetDevice(name), "/dev/null")
	}
	container := &oci.Spec{Process: &oci.Process{User: oci.User{UID: 1000, GID: 1000}}}
	if _, err := cache.InjectDevices(container, cache.ListDevices()...); err != nil {
		t.Fatal(err)
	}
	paths := map[string]bool{}
	for _, device := range container.Linux.Devices {
		if paths[device.Path] {
			t.Errorf("%s is there twice", device.Path)
		}
		paths[device.Path] = true
		if *device.FileMode != 0o666 {
			t.Errorf("%s: mode %o", device.Path, *device.FileMode)
		}
	}
	for _, path := range []string{
		"/dev/accel/accel0", "/dev/accel/accel_controlD0", "/dev/infiniband/uverbs0", "/dev/accel/accel1",
		"/dev/accel/accel_controlD1", "/dev/infiniband/uverbs1", "/dev/infiniband/rdma_cm",
	} {
		if !paths[path] {
			t.Errorf("%s is missing", path)
		}
	}
	if len(paths) != 7 {
		t.Errorf("nodes: %v", paths)
	}
	for _, rule := range container.Linux.Resources.Devices {
		if !rule.Allow || rule.Access != "rw" {
			t.Errorf("rule %+v", rule)
		}
	}
}

// Why the specs hold no links, although names that stay would be welcome there.
func TestCDITakesNoLinkForANode(t *testing.T) {
	cache := cacheOf(t, specsOf(t, "lab.tree"), 2)
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink("/dev/null", link); err != nil {
		t.Fatal(err)
	}
	name := cache.ListDevices()[0]
	playNodes(cache.GetDevice(name), link)
	if _, err := cache.InjectDevices(&oci.Spec{}, name); err == nil {
		t.Error("a link was taken: the specs could use stable links now")
	}
}

// A runtime that watches the folder sees a device that goes, without being told.
func TestCDISpecsAreFollowedByARuntimeThatWatches(t *testing.T) {
	dir := specsOf(t, "lab.tree")
	cache, err := cdi.NewCache(cdi.WithSpecDirs(dir))
	if err != nil {
		t.Fatal(err)
	}
	if len(cache.ListDevices()) != 2 {
		t.Fatalf("the runtime knows %v", cache.ListDevices())
	}
	if err := os.Remove(filepath.Join(dir, "../../../sys/class/accel/accel0")); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(3 * limit); len(cache.ListDevices()) != 1; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("the runtime still knows %v", cache.ListDevices())
		}
	}
}
