// SPDX-License-Identifier: Apache-2.0

// Registration by the kubelet's own plugin watcher, which looks once a second.

package kubelet

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

func newWatchingKubelet(t *testing.T, m *machine) *kubelet {
	k := newKubelet(t, m.kubeletDir())
	k.registry = m.path("var/lib/kubelet/plugins_registry")
	return k
}

func (k *kubelet) registrySockets() []string {
	found, _ := filepath.Glob(filepath.Join(k.registry, "*"))
	return found
}

func checkOnlyWatched(t *testing.T, k *kubelet, n int) {
	t.Helper()
	if sockets := k.sockets(); len(sockets) != 0 {
		t.Errorf("registered in the other way too: %v", sockets)
	}
	if sockets := k.registrySockets(); len(sockets) != n {
		t.Errorf("%d sockets to be found, not %d: %v", len(sockets), n, sockets)
	}
}

func TestPluginWatcherRestarts(t *testing.T) {
	m := newMachine(t, 8)
	k := newWatchingKubelet(t, m)
	p := m.startPlugin("--registration=watcher")
	k.start()
	k.await(gaudi, all(8))
	stays := pod("stays", gaudi, 2)
	runPod(t, m, k, stays)
	socket, err := os.Stat(k.registrySockets()[0])
	if err != nil {
		t.Fatal(err)
	}
	var took durations
	for i := 0; i < 10; i++ {
		k.restart()
		took = append(took, k.await(gaudi, all(8)))
		comes := pod("comes", gaudi, 6)
		runPod(t, m, k, comes)
		k.remove(comes)
	}
	took.check(t, "being found again by a kubelet that started")
	checkOnlyWatched(t, k, 1)
	if now, err := os.Stat(k.registrySockets()[0]); err != nil || !os.SameFile(socket, now) {
		t.Errorf("the socket was made anew, or is gone (%v)", err)
	}
	if !p.lives() {
		t.Error("the plugin ended")
	}
}

func TestPluginWatcherFindsBothResources(t *testing.T) {
	m := newMachine(t, 4)
	k := newWatchingKubelet(t, m)
	k.start()
	m.startPlugin("--registration=watcher", "--pairing=separate")
	k.await(gaudi, all(4))
	k.await("habana.ai/rdma", all(4))
	checkOnlyWatched(t, k, 2)
}

// The plugin is killed, updated, its socket is deleted, all under a kubelet that lives on.
func TestPluginWatcherFindsSuccessors(t *testing.T) {
	m := newMachine(t, 8)
	k := newWatchingKubelet(t, m)
	k.start()
	p := m.startPlugin("--registration=watcher")
	k.await(gaudi, all(8))
	for i := 0; i < 5; i++ {
		p.kill()
		k.await(gaudi, count{8, 0})
		p = m.startPlugin("--registration=watcher")
		k.await(gaudi, all(8))
	}
	p.terminate()
	checkOnlyWatched(t, k, 0)
	k.await(gaudi, count{8, 0})
	p = m.startPlugin("--registration=watcher")
	k.await(gaudi, all(8))
	for i := 0; i < 3; i++ {
		p.says(t, "registered with the kubelet", i+1)
		os.Remove(k.registrySockets()[0])
		p.says(t, "registered with the kubelet", i+2)
		k.await(gaudi, all(8))
	}
	runPod(t, m, k, pod("all", gaudi, 8))
	// And it stays so: nothing is made anew while all is well.
	seen := k.watch(gaudi)
	time.Sleep(5 * time.Second)
	if counts := seen(); len(counts) != 1 || counts[0] != all(8) {
		t.Errorf("the capacity was %v meanwhile", counts)
	}
}

// Where the pod mounts only the plugin watcher's folder, that is the way.
func TestAutomaticRegistration(t *testing.T) {
	m := newMachine(t, 2)
	k := newWatchingKubelet(t, m)
	p := m.startPlugin("--kubelet-dir=" + m.path("not-mounted"))
	k.start()
	k.await(gaudi, all(2))
	checkOnlyWatched(t, k, 1)
	p.terminate()
	k.await(gaudi, count{2, 0})
	m.startPlugin()
	k.await(gaudi, all(2))
	if len(k.sockets()) != 1 || len(k.registrySockets()) != 0 {
		t.Errorf("sockets: %v and %v", k.sockets(), k.registrySockets())
	}
}
