// SPDX-License-Identifier: Apache-2.0

// `make bench P=device-plugin`: ours beside a Go plugin, called with grpc-go.

package kubelet

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	dp "k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1"
)

const (
	benchStarts    = 30
	benchAllocates = 3000
	benchChanges   = 60
	benchPer       = 8 // devices of one Allocate
)

// registrar is the kubelet of a benchmark: it calls back as the real one does,
// and then watches the devices.
type registrar struct {
	dp.UnimplementedRegistrationServer
	dir   string
	lists chan *dp.ListAndWatchResponse
	conn  chan *grpc.ClientConn
}

func (k *registrar) Register(ctx context.Context, r *dp.RegisterRequest) (*dp.Empty, error) {
	conn, err := grpc.NewClient("passthrough:///"+r.Endpoint, grpc.WithAuthority("localhost"),
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", filepath.Join(k.dir, r.Endpoint))
		}))
	if err != nil {
		return nil, err
	}
	client := dp.NewDevicePluginClient(conn)
	if _, err := client.GetDevicePluginOptions(ctx, &dp.Empty{}); err != nil {
		return nil, err
	}
	stream, err := client.ListAndWatch(context.Background(), &dp.Empty{})
	if err != nil {
		return nil, err
	}
	k.conn <- conn
	go func() {
		for {
			list, err := stream.Recv()
			if err != nil {
				return
			}
			k.lists <- list
		}
	}()
	return &dp.Empty{}, nil
}

// subject is one of the two plugins.
type subject struct {
	program string
	options []string
	ids     []string
	// change makes the first device healthy or not, and returns when the plugin could know.
	change func(healthy bool) time.Time
}

type figures struct {
	memory, binary          float64 // KiB
	start, p50, p99, health float64 // microseconds
}

func serve(b *testing.B, dir string) *registrar {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		b.Fatal(err)
	}
	socket := filepath.Join(dir, "kubelet.sock")
	os.Remove(socket)
	listener, err := net.Listen("unix", socket)
	if err != nil {
		b.Fatal(err)
	}
	k := &registrar{dir: dir, lists: make(chan *dp.ListAndWatchResponse, 10), conn: make(chan *grpc.ClientConn, 1)}
	server := grpc.NewServer()
	dp.RegisterRegistrationServer(server, k)
	go server.Serve(listener)
	b.Cleanup(server.Stop)
	return k
}

func (k *registrar) next(b *testing.B, what string) *dp.ListAndWatchResponse {
	select {
	case list := <-k.lists:
		return list
	case <-time.After(patience):
		b.Fatalf("no list from %s", what)
		return nil
	}
}

func microseconds(d []time.Duration, percent int) float64 {
	sort.Slice(d, func(i, j int) bool { return d[i] < d[j] })
	return float64(d[(len(d)-1)*percent/100].Nanoseconds()) / 1000
}

func resident(b *testing.B, pid int) float64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		b.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "VmRSS:")
	kib, err := strconv.ParseFloat(strings.Fields(rest)[0], 64)
	if err != nil {
		b.Fatal(err)
	}
	return kib
}

func measure(b *testing.B, m *machine, k *registrar, s subject) figures {
	var starts []time.Duration
	var p *plugin
	var conn *grpc.ClientConn
	for i := 0; i < benchStarts; i++ {
		if p != nil {
			p.kill()
			conn.Close()
		}
		begin := time.Now()
		p = m.start(s.program, s.options...)
		for len(k.next(b, s.program).Devices) != len(s.ids) {
		}
		starts = append(starts, time.Since(begin))
		conn = <-k.conn
	}
	client := dp.NewDevicePluginClient(conn)
	var calls []time.Duration
	for i := 0; i < benchAllocates; i++ {
		var ids []string
		for j := 0; j < benchPer; j++ {
			ids = append(ids, s.ids[(i*benchPer+j)%len(s.ids)])
		}
		request := &dp.AllocateRequest{ContainerRequests: []*dp.ContainerAllocateRequest{{DevicesIds: ids}}}
		begin := time.Now()
		answer, err := client.Allocate(context.Background(), request)
		if i >= benchAllocates/10 { // the first ones warm up
			calls = append(calls, time.Since(begin))
		}
		if err != nil || len(answer.ContainerResponses[0].Devices) < 3*benchPer {
			b.Fatalf("%s: %v, %v", s.program, answer, err)
		}
	}
	var changes []time.Duration
	for i := 0; i < benchChanges; i++ {
		want := i%2 != 0
		begin := s.change(want)
		for {
			healthy := true
			for _, device := range k.next(b, s.program).Devices {
				healthy = healthy && device.Health == dp.Healthy
			}
			if healthy == want {
				break
			}
		}
		changes = append(changes, time.Since(begin))
		time.Sleep(20 * time.Millisecond)
	}
	info, err := os.Stat(s.program)
	if err != nil {
		b.Fatal(err)
	}
	f := figures{memory: resident(b, p.cmd.Process.Pid), binary: float64(info.Size()) / 1024, start: microseconds(starts, 50),
		p50: microseconds(calls, 50), p99: microseconds(calls, 99), health: microseconds(changes, 50)}
	p.kill()
	conn.Close()
	return f
}

// ours reads a machine's sysfs; a real event of the kernel tells it to look.
func ours(b *testing.B, m *machine, kubeletDir string) subject {
	s := subject{program: os.Getenv("DEVICE_PLUGIN"), options: []string{"--sysfs-root=" + m.path("sys"), "--kubelet-dir=" + kubeletDir,
		"--dev-dir=" + m.path("dev"), "--state-dir=" + m.path("var/lib/gaudi-p2p"), "--registration=register",
		"--registry-dir=" + m.path("none"), "--pod-resources=" + m.path("none"), "--cdi-dir=" + m.path("cdi")}}
	for i := 0; i < m.n; i++ {
		s.ids = append(s.ids, id(i))
	}
	// Any device of this machine will do: the plugin looks at its own.
	pci, err := filepath.Glob("/sys/bus/pci/devices/*")
	if err != nil || len(pci) == 0 {
		b.Fatalf("no PCI device to make an event of: %v", err)
	}
	s.change = func(healthy bool) time.Time {
		state := map[bool]string{true: "free", false: "lost"}[healthy]
		m.setState(0, state)
		begin := time.Now()
		if err := os.WriteFile(pci[0]+"/uevent", []byte("change"), 0); err != nil {
			b.Fatalf("cannot make the kernel send an event: %v", err)
		}
		return begin
	}
	return s
}

func theirs(b *testing.B, m *machine) subject {
	dir := m.path("peer")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		b.Fatal(err)
	}
	s := subject{program: os.Getenv("DEVICE_PLUGIN_PEER"), options: []string{m.path("sys"), dir}}
	for i := 0; i < m.n; i++ {
		s.ids = append(s.ids, id(i))
	}
	s.change = func(healthy bool) time.Time {
		state := map[bool]string{true: "free", false: "lost"}[healthy]
		m.put("state.new", state)
		begin := time.Now()
		if err := os.Rename(m.path("state.new"), filepath.Join(dir, "state")); err != nil {
			b.Fatal(err)
		}
		return begin
	}
	return s
}

type row struct {
	Name      string  `json:"name"`
	Value     float64 `json:"value"`
	Unit      string  `json:"unit"`
	Peer      string  `json:"peer"`
	PeerValue float64 `json:"peer_value"`
	Ratio     float64 `json:"ratio"`
}

// BenchmarkDevicePlugin runs in a mount namespace of its own, because the peer
// knows one directory only. It writes BENCH_OUT.
func BenchmarkDevicePlugin(b *testing.B) {
	if os.Getenv("BENCH_OUT") == "" {
		b.Fatal("run by tests/bench/part-device-plugin")
	}
	if err := syscall.Mount("tmpfs", "/var/lib", "tmpfs", 0, ""); err != nil {
		b.Fatal(err)
	}
	const dir = "/var/lib/kubelet/device-plugins"
	var rows []row
	for _, n := range []int{8, 256} {
		m := newMachine(b, n)
		k := serve(b, dir)
		we, they := measure(b, m, k, ours(b, m, dir)), measure(b, m, k, theirs(b, m))
		add := func(name string, value, peer float64, unit string) {
			rows = append(rows, row{fmt.Sprintf("device-plugin-%s-%d", name, n), value, unit, "Go plugin on device-plugin-manager", peer, value / peer})
		}
		add("memory", we.memory, they.memory, "KiB")
		if n == 8 {
			rows = append(rows, row{"device-plugin-binary", we.binary, "KiB", "Go plugin on device-plugin-manager", they.binary, we.binary / they.binary})
		}
		add("start", we.start, they.start, "us")
		add("allocate-p50", we.p50, they.p50, "us")
		add("allocate-p99", we.p99, they.p99, "us")
		add("health", we.health, they.health, "us")
	}
	text, err := json.MarshalIndent(rows, "", " ")
	if err == nil {
		err = os.WriteFile(os.Getenv("BENCH_OUT"), append(text, '\n'), 0o644)
	}
	if err != nil {
		b.Fatal(err)
	}
}
