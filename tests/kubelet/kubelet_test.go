// SPDX-License-Identifier: Apache-2.0

package kubelet

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
	_ "unsafe" // for go:linkname

	cadvisorapi "github.com/google/cadvisor/lib/model"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/client-go/tools/record"
	"k8s.io/klog/v2"
	watcherapi "k8s.io/kubelet/pkg/apis/pluginregistration/v1"
	"k8s.io/kubernetes/pkg/kubelet/cm/containermap"
	"k8s.io/kubernetes/pkg/kubelet/cm/devicemanager"
	"k8s.io/kubernetes/pkg/kubelet/cm/topologymanager"
	"k8s.io/kubernetes/pkg/kubelet/config"
	"k8s.io/kubernetes/pkg/kubelet/lifecycle"
	"k8s.io/kubernetes/pkg/kubelet/pluginmanager"
)

// The exported constructor knows one directory only, the real node's.
//
//go:linkname newDeviceManager k8s.io/kubernetes/pkg/kubelet/cm/devicemanager.newManagerImpl
func newDeviceManager(logger klog.Logger, socket string, topology []cadvisorapi.Node,
	store topologymanager.Store) (*devicemanager.ManagerImpl, error)

// numaNodes are those of the recorded trees.
var numaNodes = []cadvisorapi.Node{{Id: 0}, {Id: 1}}

// kubelet is the part of a kubelet that a device plugin meets: the real device
// manager, topology manager and plugin watcher. What the rest of a kubelet
// knows (pods, running containers) is kept here and outlives restarts.
type kubelet struct {
	t        *testing.T
	dir      string // of the device plugins
	registry string // of the plugin watcher; "" for none
	policy   string // of the topology manager
	rebooted bool   // the next start finds no container running

	mu      sync.Mutex
	pods    []*v1.Pod
	running containermap.ContainerMap

	devices  *devicemanager.ManagerImpl
	topology topologymanager.Manager
	cancel   context.CancelFunc
	stop     chan struct{}
}

func newKubelet(t *testing.T, dir string) *kubelet {
	k := &kubelet{t: t, dir: dir, policy: topologymanager.PolicyNone, running: containermap.NewContainerMap()}
	t.Cleanup(k.shutDown)
	return k
}

func (k *kubelet) activePods() []*v1.Pod {
	k.mu.Lock()
	defer k.mu.Unlock()
	return append([]*v1.Pod(nil), k.pods...)
}

// start starts it, and admits again the pods it had, as a kubelet does.
func (k *kubelet) start() {
	k.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	logger := klog.FromContext(ctx)
	k.cancel, k.stop = cancel, make(chan struct{})
	var err error
	k.topology, err = topologymanager.NewManager(logger, numaNodes, k.policy, topologymanager.ContainerTopologyScope, nil)
	if err != nil {
		k.t.Fatal(err)
	}
	// The real one makes it through its checkpoint manager, before it listens.
	if err := os.MkdirAll(k.dir, 0o750); err != nil {
		k.t.Fatal(err)
	}
	k.devices, err = newDeviceManager(logger, filepath.Join(k.dir, "kubelet.sock"), numaNodes, k.topology)
	if err != nil {
		k.t.Fatal(err)
	}
	k.topology.AddHintProvider(logger, k.devices)
	running := sets.New[string]()
	if !k.rebooted {
		k.running.Visit(func(_, _, id string) { running.Insert(id) })
	}
	k.rebooted = false
	ready := false
	sources := config.NewSourcesReady(func(sets.Set[string]) bool { return ready })
	if err := k.devices.Start(logger, k.activePods, sources, k.running.Clone(), running); err != nil {
		k.t.Fatal(err)
	}
	var refused []*v1.Pod
	for _, pod := range k.activePods() {
		if result := k.topology.Admit(ctx, &lifecycle.PodAdmitAttributes{Pod: pod, Operation: lifecycle.AddOperation}); !result.Admit {
			refused = append(refused, pod)
		}
	}
	for _, pod := range refused {
		k.remove(pod)
	}
	ready = true
	if k.registry != "" {
		manager := pluginmanager.NewPluginManager(k.registry, record.NewFakeRecorder(100))
		manager.AddHandler(watcherapi.DevicePlugin, k.devices.GetWatcherHandler())
		go manager.Run(ctx, sources, k.stop)
	}
}

func (k *kubelet) shutDown() {
	if k.devices == nil {
		return
	}
	close(k.stop)
	k.cancel()
	if err := k.devices.Stop(klog.Background()); err != nil {
		k.t.Error(err)
	}
	k.devices = nil
}

func (k *kubelet) restart() {
	k.t.Helper()
	k.shutDown()
	k.start()
}

// count is a resource's capacity and how much of it is healthy.
type count struct{ capacity, allocatable int64 }

func (c count) String() string { return fmt.Sprintf("%d/%d", c.allocatable, c.capacity) }

func all(n int64) count { return count{n, n} }

func (k *kubelet) count(name string) count {
	capacity, allocatable, _ := k.devices.GetCapacity(klog.Background())
	c, a := capacity[v1.ResourceName(name)], allocatable[v1.ResourceName(name)]
	return count{c.Value(), a.Value()}
}

// await waits until the resource counts that much; it says how long it took.
func (k *kubelet) await(name string, want count) time.Duration {
	k.t.Helper()
	return await(k.t, fmt.Sprintf("%s to count %v", name, want), func() (bool, string) {
		got := k.count(name)
		return got == want, got.String()
	})
}

// watch looks at a resource all the time, until the returned function is
// called: that one returns what was counted, each value once, in order.
func (k *kubelet) watch(name string) func() []count {
	stop, done := make(chan struct{}), make(chan struct{})
	var seen []count
	go func() {
		defer close(done)
		for {
			if c := k.count(name); len(seen) == 0 || seen[len(seen)-1] != c {
				seen = append(seen, c)
			}
			select {
			case <-stop:
				return
			case <-time.After(time.Millisecond):
			}
		}
	}()
	return func() []count {
		close(stop)
		<-done
		return seen
	}
}

// pod asks for n of a resource, in one container named main.
func pod(name, resourceName string, n int64) *v1.Pod {
	list := v1.ResourceList{v1.ResourceName(resourceName): *resource.NewQuantity(n, resource.DecimalSI)}
	return &v1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "default", UID: types.UID("uid-" + name)},
		Spec: v1.PodSpec{Containers: []v1.Container{{
			Name: "main", Resources: v1.ResourceRequirements{Limits: list, Requests: list}}}},
	}
}

// admit is what the kubelet does with a new pod; the error is the reason it is refused for.
func (k *kubelet) admit(pod *v1.Pod) error {
	k.mu.Lock()
	k.pods = append(k.pods, pod)
	k.mu.Unlock()
	result := k.topology.Admit(context.Background(), &lifecycle.PodAdmitAttributes{Pod: pod, Operation: lifecycle.AddOperation})
	if !result.Admit {
		k.remove(pod)
		return fmt.Errorf("%s: %s", result.Reason, result.Message)
	}
	return nil
}

// run starts the container of an admitted pod.
func (k *kubelet) run(pod *v1.Pod) (*devicemanager.DeviceRunContainerOptions, error) {
	options, err := k.devices.GetDeviceRunContainerOptions(context.Background(), pod, &pod.Spec.Containers[0])
	if err == nil {
		k.mu.Lock()
		defer k.mu.Unlock()
		k.running.Add(string(pod.UID), "main", "container-of-"+pod.Name)
	}
	return options, err
}

// remove forgets a pod; its devices are free with the next admission.
func (k *kubelet) remove(pod *v1.Pod) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.running.RemoveByContainerID("container-of-" + pod.Name)
	for i, p := range k.pods {
		if p.UID == pod.UID {
			k.pods = append(k.pods[:i:i], k.pods[i+1:]...)
			return
		}
	}
}

func (k *kubelet) devicesOf(pod *v1.Pod) []string {
	ids := sets.New[string]()
	for _, devices := range k.devices.GetDevices(string(pod.UID), "main") {
		for id := range devices {
			ids.Insert(id)
		}
	}
	return sets.List(ids)
}

func (k *kubelet) sockets() []string {
	found, _ := filepath.Glob(filepath.Join(k.dir, "gaudi-p2p-*.sock"))
	return found
}

// patience is how long a test waits for what must come; not how long it may take.
const patience = 60 * time.Second

func await(t *testing.T, what string, condition func() (bool, string)) time.Duration {
	t.Helper()
	begin := time.Now()
	for {
		ok, got := condition()
		if ok {
			return time.Since(begin)
		}
		if time.Since(begin) > patience {
			t.Fatalf("waited %v for %s; it is %s", patience, what, got)
		}
		time.Sleep(time.Millisecond)
	}
}

func TestMain(m *testing.M) {
	if strings.HasPrefix(os.Getenv("KUBELET_TEST_CHILD"), "/") {
		childMain(os.Getenv("KUBELET_TEST_CHILD"))
	}
	os.Exit(m.Run())
}
