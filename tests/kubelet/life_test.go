// SPDX-License-Identifier: Apache-2.0

// The life of the device plugin beside a real kubelet's device manager.

package kubelet

import (
	"bufio"
	"fmt"
	"math/rand"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/klog/v2"
	"k8s.io/kubernetes/pkg/kubelet/cm/containermap"
	"k8s.io/kubernetes/pkg/kubelet/cm/topologymanager"
	"k8s.io/kubernetes/pkg/kubelet/config"
)

// wrongLimit is for how long a node may count wrong; what a slow machine adds
// is in rareLimit, which no single case may exceed.
const (
	wrongLimit = time.Second
	rareLimit  = 10 * time.Second
)

// durations judges how long something took in many rounds.
type durations []time.Duration

func (d durations) check(t *testing.T, what string) {
	t.Helper()
	d.checkWithin(t, what, wrongLimit)
}

func (d durations) checkWithin(t *testing.T, what string, limit time.Duration) {
	t.Helper()
	sort.Slice(d, func(i, j int) bool { return d[i] < d[j] })
	median, worst := d[len(d)/2], d[len(d)-1]
	t.Logf("%s: %v in the middle, %v at worst, of %d", what, median.Round(time.Millisecond/10), worst.Round(time.Millisecond/10), len(d))
	if median > limit || worst > limit+rareLimit {
		t.Errorf("%s takes too long", what)
	}
}

// runPod admits and starts a pod and checks what it got.
func runPod(t *testing.T, m *machine, k *kubelet, p *v1.Pod) {
	t.Helper()
	if err := k.admit(p); err != nil {
		t.Fatalf("%s was not admitted: %v", p.Name, err)
	}
	startPod(t, m, k, p)
}

// startPod starts one that was admitted.
func startPod(t *testing.T, m *machine, k *kubelet, p *v1.Pod) {
	t.Helper()
	options, err := k.run(p)
	if err != nil {
		t.Fatalf("%s does not start: %v", p.Name, err)
	}
	if wrong := m.checkDevices(k.devicesOf(p), options); wrong != "" {
		t.Fatalf("%s: %s", p.Name, wrong)
	}
}

func TestKubeletRestarts(t *testing.T) {
	m := newMachine(t, 8)
	k := newKubelet(t, m.kubeletDir())
	p := m.startPlugin()
	k.start()
	k.await(gaudi, all(8))
	stays := pod("stays", gaudi, 2)
	runPod(t, m, k, stays)
	ids := k.devicesOf(stays)
	var took durations
	for i := 0; i < 50; i++ {
		k.restart()
		took = append(took, k.await(gaudi, all(8)))
		if got := k.devicesOf(stays); fmt.Sprint(got) != fmt.Sprint(ids) {
			t.Fatalf("restart %d: the running pod has %v, it had %v", i, got, ids)
		}
		// As many as are left: a plugin that forgot anything would show here.
		comes := pod(fmt.Sprintf("comes-%d", i), gaudi, 6)
		runPod(t, m, k, comes)
		k.remove(comes)
	}
	took.check(t, "registering after a kubelet's start")
	if !p.lives() || len(k.sockets()) != 1 {
		t.Errorf("the plugin lives: %v, sockets: %v", p.lives(), k.sockets())
	}
}

// childMain is a kubelet in a process of its own, so that it can be killed. It
// prints what it counts.
func childMain(dir string) {
	devices, err := newDeviceManager(klog.Background(), filepath.Join(dir, "kubelet.sock"), numaNodes, topologymanager.NewFakeManager(klog.Background()))
	if err == nil {
		err = devices.Start(klog.Background(), func() []*v1.Pod { return nil },
			config.NewSourcesReady(func(sets.Set[string]) bool { return true }), containermap.NewContainerMap(), sets.New[string]())
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println("started")
	k := &kubelet{devices: devices}
	for last := ""; ; time.Sleep(time.Millisecond) {
		if now := k.count(gaudi).String(); now != last {
			fmt.Println(now)
			last = now
		}
	}
}

func TestKilledKubelets(t *testing.T) {
	m := newMachine(t, 8)
	m.startPlugin()
	var took durations
	for i := 0; i < 20; i++ {
		child := exec.Command(os.Args[0])
		child.Env = append(os.Environ(), "KUBELET_TEST_CHILD="+m.kubeletDir())
		out, err := child.StdoutPipe()
		if err == nil {
			err = os.MkdirAll(m.kubeletDir(), 0o750)
		}
		if err == nil {
			err = child.Start()
		}
		if err != nil {
			t.Fatal(err)
		}
		stop := time.AfterFunc(patience, func() { child.Process.Kill() })
		var started time.Time
		scanner, last := bufio.NewScanner(out), ""
		for scanner.Scan() && last != "8/8" {
			last = scanner.Text()
			if last == "started" {
				started = time.Now()
			}
			if last == "8/8" {
				took = append(took, time.Since(started))
				break
			}
		}
		// Its socket stays behind, with nobody behind it.
		child.Process.Kill()
		child.Wait()
		if !stop.Stop() || last != "8/8" {
			t.Fatalf("kubelet %d ended at %q", i, last)
		}
	}
	took.check(t, "registering after the start of a kubelet whose forerunner was killed")
}

func TestPluginKilledAtAnyMoment(t *testing.T) {
	m := newMachine(t, 8)
	k := newKubelet(t, m.kubeletDir())
	k.start()
	seed := time.Now().UnixNano()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewSource(seed))
	p := m.startPlugin()
	k.await(gaudi, all(8))
	stays := pod("stays", gaudi, 1)
	runPod(t, m, k, stays)
	for i := 0; i < 50; i++ {
		// Half of them while pods come and go, half while the plugin itself comes.
		busy := make(chan struct{})
		go func() {
			defer close(busy)
			for j := 0; j < 3; j++ {
				comes := pod(fmt.Sprintf("comes-%d-%d", i, j), gaudi, 4)
				if k.admit(comes) == nil {
					k.run(comes)
					k.remove(comes)
				}
			}
		}()
		time.Sleep(time.Duration(random.Int63n(int64(40 * time.Millisecond))))
		p.kill()
		if wrong := m.checkPairs(); wrong != "" {
			t.Fatalf("after kill %d: %s", i, wrong)
		}
		<-busy
		p = m.startPlugin()
		if i%2 == 0 {
			k.await(gaudi, all(8))
		}
	}
	k.await(gaudi, all(8))
	p.kill()
	k.await(gaudi, count{8, 0})
	begin := time.Now()
	p = m.startPlugin()
	k.await(gaudi, all(8))
	durations{time.Since(begin)}.check(t, "registering after the plugin's own start")
	runPod(t, m, k, pod("last", gaudi, 7))
	if wrong := m.checkPairs(); wrong != "" {
		t.Error(wrong)
	}
	await(t, "the dead ones' sockets to be gone", func() (bool, string) {
		return len(k.sockets()) == 1, fmt.Sprint(k.sockets())
	})
	if left, _ := filepath.Glob(m.path("var/lib/gaudi-p2p/*")); len(left) != 1 {
		t.Errorf("left behind: %v", left)
	}
}

// The new one comes before the old one goes (a DaemonSet with maxSurge).
func TestUpgradeWithoutLossOfCapacity(t *testing.T) {
	m := newMachine(t, 8)
	k := newKubelet(t, m.kubeletDir())
	k.start()
	upgradeWithoutLoss(t, m, k, k.sockets)
}

// upgradeWithoutLoss replaces a plugin again and again, and admits pods at every step.
func upgradeWithoutLoss(t *testing.T, m *machine, k *kubelet, sockets func() []string, options ...string) {
	t.Helper()
	has := func(n int) func() (bool, string) {
		return func() (bool, string) { return len(sockets()) == n, fmt.Sprint(sockets()) }
	}
	old := m.startPlugin(options...)
	k.await(gaudi, all(8))
	seen := k.watch(gaudi)
	for i := 0; i < 20; i++ {
		next := m.startPlugin(options...)
		next.says(t, "registered with the kubelet", 1)
		await(t, "two sockets", has(2))
		between := pod(fmt.Sprintf("between-%d", i), gaudi, 8)
		runPod(t, m, k, between)
		k.remove(between)
		old.terminate()
		await(t, "one socket", has(1))
		after := pod(fmt.Sprintf("after-%d", i), gaudi, 8)
		runPod(t, m, k, after)
		k.remove(after)
		old = next
	}
	if counts := seen(); len(counts) != 1 {
		t.Errorf("the kubelet counted %v", counts)
	}
}

// The old one goes first (a DaemonSet without maxSurge): the node keeps its
// capacity, and what is healthy comes back with the new one.
func TestRestartKeepsCapacity(t *testing.T) {
	m := newMachine(t, 8)
	k := newKubelet(t, m.kubeletDir())
	k.start()
	p := m.startPlugin()
	k.await(gaudi, all(8))
	seen := k.watch(gaudi)
	var took durations
	for i := 0; i < 20; i++ {
		p.terminate()
		k.await(gaudi, count{8, 0})
		begin := time.Now()
		p = m.startPlugin()
		k.await(gaudi, all(8))
		took = append(took, time.Since(begin))
	}
	for _, c := range seen() {
		if c.capacity != 8 {
			t.Errorf("the kubelet counted %v", c)
		}
	}
	took.check(t, "registering after the plugin's own start")
}

func TestKubeletDirectoryMissingOrReplaced(t *testing.T) {
	m := newMachine(t, 8)
	p := m.startPlugin()
	p.says(t, "cannot watch the kubelet's directory", 1)
	k := newKubelet(t, m.kubeletDir())
	k.start()
	took := durations{k.await(gaudi, all(8))}
	for i, replace := range []func(){
		func() { m.remove("var/lib/kubelet/device-plugins") },
		func() { m.remove("var/lib/kubelet") },
		func() {
			if err := os.Rename(k.dir, fmt.Sprintf("%s.old", k.dir)); err != nil {
				t.Fatal(err)
			}
		},
		// Another file system takes its place, as a late mount does.
		func() { m.link("var/lib/kubelet/device-plugins", "elsewhere") },
	} {
		k.shutDown()
		if i == 3 {
			m.remove("var/lib/kubelet/device-plugins")
			if err := os.MkdirAll(m.path("elsewhere"), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		replace()
		k.start()
		took = append(took, k.await(gaudi, all(8)))
		runPod(t, m, k, pod(fmt.Sprintf("pod-%d", i), gaudi, 1))
	}
	took.check(t, "registering in a directory that is new")
	if !p.lives() {
		t.Error("the plugin ended")
	}
}

// Somebody empties the directory under a kubelet that lives: a plugin must
// not be lost because its socket was deleted.
func TestSocketDeleted(t *testing.T) {
	m := newMachine(t, 8)
	k := newKubelet(t, m.kubeletDir())
	k.start()
	p := m.startPlugin()
	k.await(gaudi, all(8))
	for i := 0; i < 5; i++ {
		p.says(t, "registered with the kubelet", i+1)
		before := k.sockets()
		for _, socket := range before {
			os.Remove(socket)
		}
		await(t, "a new socket", func() (bool, string) {
			now := k.sockets()
			return len(now) == 1 && now[0] != before[0], fmt.Sprint(now)
		})
	}
	p.says(t, "registered with the kubelet", 6)
	// The kubelet answers before it turns to the new socket, and until then asks the old one.
	last := pod("all", gaudi, 8)
	await(t, "a pod's admission", func() (bool, string) {
		err := k.admit(last)
		return err == nil, fmt.Sprint(err)
	})
	startPod(t, m, k, last)
}

// After a reboot the kubelet has its checkpoint, and gives pods what Allocate
// said before; accel and verbs nodes have other numbers now.
func TestRebootWithOtherNumbers(t *testing.T) {
	m := newMachine(t, 8)
	k := newKubelet(t, m.kubeletDir())
	k.start()
	p := m.startPlugin()
	k.await(gaudi, all(8))
	pods := []*v1.Pod{pod("one", gaudi, 1), pod("three", gaudi, 3)}
	for _, pod := range pods {
		runPod(t, m, k, pod)
	}
	for _, first := range []string{"plugin", "kubelet", "plugin"} {
		ids := []string{fmt.Sprint(k.devicesOf(pods[0])), fmt.Sprint(k.devicesOf(pods[1]))}
		k.shutDown()
		p.kill()
		m.reboot()
		k.rebooted = true
		if first == "plugin" {
			p = m.startPlugin()
			p.says(t, "the kubelet is not there yet", 1)
		}
		// The kubelet refuses what was running: no plugin has registered yet. Its
		// controller makes new pods; here the same ones come again, as static pods do.
		k.start()
		if len(k.activePods()) != 0 {
			t.Errorf("pods were admitted before the plugin came: %d", len(k.activePods()))
		}
		if first == "kubelet" {
			p = m.startPlugin()
		}
		took := k.await(gaudi, all(8))
		t.Logf("%s first: registered %v after the kubelet's start", first, took)
		for i, again := range pods {
			if err := k.admit(again); err != nil {
				t.Fatalf("%s first: %s was not admitted again: %v", first, again.Name, err)
			}
			if now := fmt.Sprint(k.devicesOf(again)); now != ids[i] {
				t.Errorf("%s first: %s has %s, it had %s", first, again.Name, now, ids[i])
			}
			options, err := k.run(again)
			if err != nil {
				t.Fatalf("%s first: %s does not start: %v", first, again.Name, err)
			}
			if wrong := m.checkDevices(k.devicesOf(again), options); wrong != "" {
				t.Errorf("%s first: %s after the reboot: %s", first, again.Name, wrong)
			}
		}
	}
}

func TestHealthReachesTheKubelet(t *testing.T) {
	m := newMachine(t, 8)
	k := newKubelet(t, m.kubeletDir())
	k.start()
	p := m.startPlugin()
	k.await(gaudi, all(8))
	var took durations
	for i := 0; i < 8; i++ {
		m.setState(i, "lost")
		took = append(took, k.await(gaudi, count{8, 7}))
		m.setState(i, "free")
		took = append(took, k.await(gaudi, all(8)))
	}
	took.check(t, "a device's health reaching the kubelet")
	// What will be free by itself does not show: the kubelet would fail pods for good.
	seen := k.watch(gaudi)
	for _, state := range []string{"owned", "draining", "scrubbing", "free"} {
		m.setState(3, state)
		p.says(t, id(3)+" (accel3): "+state, 1)
	}
	if counts := seen(); len(counts) != 1 {
		t.Errorf("while one device changed hands the kubelet counted %v", counts)
	}
	m.unplugGaudi(5)
	k.await(gaudi, count{8, 7})
	m.plugGaudi(5)
	k.await(gaudi, all(8))
}

func TestStartWaitsForADrainingDevice(t *testing.T) {
	m := newMachine(t, 2)
	k := newKubelet(t, m.kubeletDir())
	k.start()
	m.startPlugin()
	k.await(gaudi, all(2))
	waits := pod("waits", gaudi, 2)
	m.setState(1, "draining")
	if err := k.admit(waits); err != nil {
		t.Fatal(err)
	}
	started := make(chan error)
	go func() {
		_, err := k.run(waits)
		started <- err
	}()
	select {
	case err := <-started:
		t.Fatalf("started (%v) while a device was draining", err)
	case <-time.After(time.Second):
	}
	// Others are not held up by it.
	if got := k.count(gaudi); got != all(2) {
		t.Errorf("meanwhile the kubelet counts %v", got)
	}
	m.setState(1, "free")
	select {
	case err := <-started:
		if err != nil {
			t.Errorf("refused: %v", err)
		}
	case <-time.After(patience):
		t.Error("did not start when the device was free")
	}
	m.setState(0, "lost")
	k.await(gaudi, count{2, 1})
	if _, err := k.run(waits); err == nil || !strings.Contains(err.Error(), "lost") {
		t.Errorf("started on a lost device: %v", err)
	}
}

func TestTopologyPolicies(t *testing.T) {
	m := newMachine(t, 8)
	p := m.startPlugin()
	near := func(k *kubelet, pod *v1.Pod) string {
		nodes := sets.New[int]()
		for _, id := range k.devicesOf(pod) {
			for i := 0; i < m.n; i++ {
				if _, address := gaudiSlot(i); address == id {
					nodes.Insert(i / 4)
				}
			}
		}
		return fmt.Sprint(sets.List(nodes))
	}
	for _, c := range []struct {
		policy string
		n      []int64  // pods, one after another
		want   []string // NUMA nodes of each, or the reason why it is refused
	}{
		{topologymanager.PolicySingleNumaNode, []int64{8, 5, 1, 4, 3, 1}, []string{"TopologyAffinityError", "TopologyAffinityError", "[0]", "[1]", "[0]", "TopologyAffinityError"}},
		{topologymanager.PolicySingleNumaNode, []int64{3, 3, 2}, []string{"[0]", "[1]", "TopologyAffinityError"}},
		{topologymanager.PolicyRestricted, []int64{8}, []string{"[0 1]"}},
		{topologymanager.PolicyRestricted, []int64{3, 3, 2, 1}, []string{"[0]", "[1]", "TopologyAffinityError", "[0]"}},
		{topologymanager.PolicyBestEffort, []int64{3, 3, 2}, []string{"[0]", "[1]", "[0 1]"}},
	} {
		t.Run(fmt.Sprintf("%s-%v", c.policy, c.n), func(t *testing.T) {
			k := newKubelet(t, m.kubeletDir())
			k.policy = c.policy
			os.Remove(filepath.Join(k.dir, "kubelet_internal_checkpoint"))
			k.start()
			defer k.shutDown()
			k.await(gaudi, all(8))
			for i, n := range c.n {
				pod := pod(fmt.Sprintf("pod-%d", i), gaudi, n)
				err := k.admit(pod)
				got := near(k, pod)
				if err != nil {
					got, _, _ = strings.Cut(err.Error(), ":")
				}
				if got != c.want[i] {
					t.Errorf("pod %d with %d: %s (%v), not %s", i, n, got, err, c.want[i])
				}
			}
		})
	}
	if !p.lives() {
		t.Error("the plugin ended")
	}
}

// Two of four Gaudis: those below one switch, whatever was given before.
func TestPreferenceReachesTheKubelet(t *testing.T) {
	m := newMachine(t, 8)
	k := newKubelet(t, m.kubeletDir())
	k.start()
	m.startPlugin()
	k.await(gaudi, all(8))
	one := pod("one", gaudi, 1)
	runPod(t, m, k, one)
	for i := 0; i < 3; i++ {
		two := pod(fmt.Sprintf("two-%d", i), gaudi, 2)
		runPod(t, m, k, two)
		ids := k.devicesOf(two)
		if len(ids) != 2 || ids[0][:4] != ids[1][:4] {
			t.Errorf("pod %d got %v, which are below two switches", i, ids)
		}
	}
	if err := k.admit(pod("too-much", gaudi, 2)); err == nil {
		t.Error("two of one were given")
	}
	runPod(t, m, k, pod("rest", gaudi, 1))
}
