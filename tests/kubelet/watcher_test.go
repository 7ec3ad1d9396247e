// SPDX-License-Identifier: Apache-2.0

// Registration by the kubelet's plugin watcher.

package kubelet

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"
)

// The kubelet's watcher looks once a second, and after a failure waits longer.
const watcherLimit = 5 * time.Second

func newWatchingKubelet(t *testing.T, m *machine) *kubelet {
	k := newKubelet(t, m.kubeletDir())
	k.registry = m.path("var/lib/kubelet/plugins_registry")
	return k
}

func (k *kubelet) offers() []string {
	found, _ := filepath.Glob(filepath.Join(k.registry, "gaudi-p2p-*.sock"))
	return found
}

func TestWatcherRegistersAfterKubeletRestarts(t *testing.T) {
	m := newMachine(t, 8)
	k := newWatchingKubelet(t, m)
	p := m.startPlugin("--registration=watcher") // before the kubelet has made the folder
	k.start()
	k.await(gaudi, all(8))
	stays := pod("stays", gaudi, 2)
	runPod(t, m, k, stays)
	ids := fmt.Sprint(k.devicesOf(stays))
	var took durations
	for i := 0; i < 10; i++ {
		k.restart()
		took = append(took, k.await(gaudi, all(8)))
		if got := fmt.Sprint(k.devicesOf(stays)); got != ids {
			t.Fatalf("restart %d: the running pod has %v, it had %v", i, got, ids)
		}
		comes := pod(fmt.Sprintf("comes-%d", i), gaudi, 6)
		runPod(t, m, k, comes)
		k.remove(comes)
	}
	took.checkWithin(t, "being found after a kubelet's start", watcherLimit)
	if !p.lives() || len(k.offers()) != 1 {
		t.Errorf("the plugin lives: %v, sockets: %v", p.lives(), k.offers())
	}
	if len(k.sockets()) != 0 {
		t.Errorf("sockets for the other way: %v", k.sockets())
	}
}

func TestWatcherFindsAPluginThatWasKilled(t *testing.T) {
	m := newMachine(t, 8)
	k := newWatchingKubelet(t, m)
	k.start()
	p := m.startPlugin("--registration=watcher")
	k.await(gaudi, all(8))
	var took durations
	for i := 0; i < 5; i++ {
		p.kill()
		k.await(gaudi, count{8, 0})
		begin := time.Now()
		p = m.startPlugin("--registration=watcher")
		k.await(gaudi, all(8))
		took = append(took, time.Since(begin))
	}
	took.checkWithin(t, "being found after the plugin's own start", watcherLimit)
	runPod(t, m, k, pod("all", gaudi, 8))
	await(t, "the dead ones' sockets to be gone", func() (bool, string) {
		return len(k.offers()) == 1, fmt.Sprint(k.offers())
	})
}

// The new one comes before the old one goes, and each has a socket of its own.
func TestWatcherUpgradeWithoutLossOfCapacity(t *testing.T) {
	m := newMachine(t, 8)
	k := newWatchingKubelet(t, m)
	k.start()
	upgradeWithoutLoss(t, m, k, k.offers, "--registration=watcher")
}

// The old one goes first: the node keeps its capacity, and what is healthy comes back with the new one.
func TestWatcherRestartKeepsCapacity(t *testing.T) {
	m := newMachine(t, 8)
	k := newWatchingKubelet(t, m)
	k.start()
	p := m.startPlugin("--registration=watcher")
	k.await(gaudi, all(8))
	seen := k.watch(gaudi)
	var took durations
	for i := 0; i < 5; i++ {
		p.terminate()
		k.await(gaudi, count{8, 0})
		begin := time.Now()
		p = m.startPlugin("--registration=watcher")
		k.await(gaudi, all(8))
		took = append(took, time.Since(begin))
	}
	for _, c := range seen() {
		if c.capacity != 8 {
			t.Errorf("the kubelet counted %v", c)
		}
	}
	took.checkWithin(t, "being found after the plugin's own start", watcherLimit)
}

// A kubelet that starts in the middle of an upgrade finds both, and what a
// killed one left; each of them that ends leaves the devices to the other.
func TestWatcherSweepsOnlyTheDead(t *testing.T) {
	m := newMachine(t, 8)
	k := newWatchingKubelet(t, m)
	k.start()
	killed, lives := m.startPlugin("--registration=watcher"), m.startPlugin("--registration=watcher")
	await(t, "two sockets", func() (bool, string) { return len(k.offers()) == 2, fmt.Sprint(k.offers()) })
	lives.says(t, "registered with the kubelet", 1)
	k.await(gaudi, all(8))
	seen := k.watch(gaudi)
	killed.kill()
	next := m.startPlugin("--registration=watcher")
	next.says(t, "registered with the kubelet", 1)
	if got := k.offers(); len(got) != 2 {
		t.Errorf("one was killed, two live; their sockets are %v", got)
	}
	if counts := seen(); len(counts) != 1 {
		t.Errorf("the kubelet counted %v", counts)
	}
	k.restart()
	k.await(gaudi, all(8))
	lives.says(t, "registered with the kubelet", 2)
	next.says(t, "registered with the kubelet", 2)
	seen = k.watch(gaudi)
	lives.terminate()
	// Until the kubelet notices, it may call the one that has ended: of two that it found it takes any.
	await(t, "a pod to be admitted", func() (bool, string) {
		err := k.admit(pod("all", gaudi, 8))
		return err == nil, fmt.Sprint(err)
	})
	if counts := seen(); len(counts) != 1 {
		t.Errorf("when one of two had ended the kubelet counted %v", counts)
	}
}

func TestAutoRegistersWhereTheFolderIs(t *testing.T) {
	m := newMachine(t, 8)
	k := newWatchingKubelet(t, m)
	k.start()
	p := m.startPlugin() // both are there: the faster way, and only that
	k.await(gaudi, all(8))
	if len(k.offers()) != 0 || len(k.sockets()) != 1 {
		t.Errorf("sockets %v and %v", k.sockets(), k.offers())
	}
	p.terminate()
	k.shutDown()
	// A pod that mounts only the registry.
	m.startPlugin("--kubelet-dir=" + m.path("none"))
	if err := removeAll(k.dir); err != nil {
		t.Fatal(err)
	}
	k.start()
	k.await(gaudi, all(8))
}
