// SPDX-License-Identifier: Apache-2.0

// Package interop tests our gRPC and our messages against grpc-go and the
// kubelet's own generated code. PEER names the C side, built from peer/peer.c.
package interop

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	_ "google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/status"
	dp "k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1"
	pw "k8s.io/kubelet/pkg/apis/pluginregistration/v1"
	pr "k8s.io/kubelet/pkg/apis/podresources/v1"
)

const limit = 10 * time.Second

func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	t.Cleanup(cancel)
	return ctx
}

func dial(t *testing.T, socket string, options ...grpc.DialOption) *grpc.ClientConn {
	t.Helper()
	options = append(options, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", socket)
		}))
	conn, err := grpc.NewClient("passthrough:///"+socket, options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// kubelet serves Registration as the real one does: it calls the plugin back
// before it answers.
type kubelet struct {
	dp.UnimplementedRegistrationServer
	t       *testing.T
	dir     string
	got     *dp.RegisterRequest
	options *dp.DevicePluginOptions
}

func (k *kubelet) Register(ctx context.Context, r *dp.RegisterRequest) (*dp.Empty, error) {
	conn := dial(k.t, filepath.Join(k.dir, r.Endpoint), grpc.WithAuthority("localhost"))
	options, err := dp.NewDevicePluginClient(conn).GetDevicePluginOptions(ctx, &dp.Empty{})
	if err != nil {
		return nil, fmt.Errorf("no options: %w", err)
	}
	k.got, k.options = r, options
	return &dp.Empty{}, nil
}

type peer struct {
	cmd   *exec.Cmd
	lines chan string
}

func (p *peer) expect(t *testing.T, prefix string) string {
	t.Helper()
	after := time.After(limit)
	for {
		select {
		case line, ok := <-p.lines:
			if !ok {
				t.Fatalf("the peer ended before %q", prefix)
			}
			if strings.HasPrefix(line, prefix) {
				return line
			}
		case <-after:
			t.Fatalf("no %q within %v", prefix, limit)
		}
	}
}

func startPlugin(t *testing.T) (*kubelet, *peer) {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "interop")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	k := &kubelet{t: t, dir: dir}
	listener, err := net.Listen("unix", filepath.Join(dir, "kubelet.sock"))
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	dp.RegisterRegistrationServer(server, k)
	go server.Serve(listener)
	t.Cleanup(server.Stop)

	p := &peer{cmd: exec.Command(os.Getenv("PEER"), "plugin", dir), lines: make(chan string, 100)}
	p.cmd.Stderr = os.Stderr
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.cmd.Process.Kill() })
	go func() {
		for scanner := bufio.NewScanner(out); scanner.Scan(); {
			p.lines <- scanner.Text()
		}
		close(p.lines)
	}()
	if line := p.expect(t, "registered"); !strings.HasPrefix(line, "registered 0") {
		t.Fatal(line)
	}
	return k, p
}

func (p *peer) end(t *testing.T) {
	t.Helper()
	p.cmd.Process.Signal(syscall.SIGTERM)
	if err := p.cmd.Wait(); err != nil {
		t.Errorf("the peer ended with %v", err)
	}
}

func (k *kubelet) plugin(options ...grpc.DialOption) dp.DevicePluginClient {
	return dp.NewDevicePluginClient(dial(k.t, filepath.Join(k.dir, "plugin.sock"), options...))
}

func allocate(ctx context.Context, c dp.DevicePluginClient, id string) (*dp.AllocateResponse, error) {
	return c.Allocate(ctx, &dp.AllocateRequest{ContainerRequests: []*dp.ContainerAllocateRequest{{DevicesIds: []string{id}}}},
		grpc.MaxCallRecvMsgSize(4<<20))
}

func TestRegisterCallsBack(t *testing.T) {
	k, _ := startPlugin(t)
	if k.got.Version != "v1beta1" || k.got.Endpoint != "plugin.sock" || k.got.ResourceName != "habana.ai/gaudi" {
		t.Errorf("registered as %v", k.got)
	}
	if !k.got.Options.PreStartRequired || !k.options.PreStartRequired || !k.options.GetPreferredAllocationAvailable {
		t.Errorf("options %v and %v", k.got.Options, k.options)
	}
}

func TestAllocate(t *testing.T) {
	k, _ := startPlugin(t)
	c := k.plugin()
	r, err := allocate(within(t), c, "a-device")
	if err != nil {
		t.Fatal(err)
	}
	got := r.ContainerResponses[0]
	if got.Envs["ID"] != "a-device" || got.Devices[0].HostPath != "/dev/gaudi/by-id/x/accel" || got.Devices[0].Permissions != "rw" {
		t.Errorf("got %v", got)
	}
	if r, err = allocate(within(t), c, "big"); err != nil || len(r.ContainerResponses[0].Envs["ID"]) != 3<<20 {
		t.Errorf("3 MiB: %v", err)
	}
	if _, err = allocate(within(t), c, "huge"); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("5 MiB: %v", err)
	}
	if _, err = allocate(within(t), c, strings.Repeat("x", 3<<20)); err != nil {
		t.Errorf("request of 3 MiB: %v", err)
	}
	if _, err = allocate(within(t), c, strings.Repeat("x", 5<<20)); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("request of 5 MiB: %v", err)
	}
	_, err = allocate(within(t), c, "fail")
	if status.Code(err) != codes.FailedPrecondition || status.Convert(err).Message() != "100% of fail is gone: größer\n" {
		t.Errorf("failure: %v", err)
	}
	if _, err = allocate(within(t), c, "after all that"); err != nil {
		t.Error(err)
	}
}

func TestPreferredAllocation(t *testing.T) {
	k, _ := startPlugin(t)
	r, err := k.plugin().GetPreferredAllocation(within(t), &dp.PreferredAllocationRequest{
		ContainerRequests: []*dp.ContainerPreferredAllocationRequest{{AvailableDeviceIDs: []string{"a", "b", "c"}, AllocationSize: 2}}})
	if err != nil || len(r.ContainerResponses[0].DeviceIDs) != 2 {
		t.Errorf("%v, %v", r, err)
	}
}

func TestPreStartIsAnsweredLater(t *testing.T) {
	k, p := startPlugin(t)
	c := k.plugin()
	begin := time.Now()
	if _, err := c.PreStartContainer(within(t), &dp.PreStartContainerRequest{DevicesIds: []string{"a"}}); err != nil {
		t.Fatal(err)
	}
	if d := time.Since(begin); d < 300*time.Millisecond {
		t.Errorf("answered after %v", d)
	}
	// One that the caller gives up, while others are served.
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	go allocate(ctx, c, "meanwhile")
	if _, err := c.PreStartContainer(ctx, &dp.PreStartContainerRequest{}); status.Code(err) != codes.DeadlineExceeded {
		t.Error(err)
	}
	p.expect(t, "prestart gone")
}

func TestListAndWatch(t *testing.T) {
	k, p := startPlugin(t)
	c := k.plugin()
	ctx, cancel := context.WithCancel(within(t))
	stream, err := c.ListAndWatch(ctx, &dp.Empty{})
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < 20; i++ {
		list, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if d := list.Devices[0]; d.ID != fmt.Sprintf("list-%d", i) || d.Health != dp.Healthy || d.Topology.Nodes[0].ID != 1 {
			t.Fatalf("list %d: %v", i, d)
		}
		if _, err := allocate(ctx, c, "next"); err != nil {
			t.Fatal(err)
		}
	}
	p.expect(t, "watchers 1")
	cancel()
	p.expect(t, "watchers 0")
	// And one that lives until the plugin ends.
	stream, err = c.ListAndWatch(within(t), &dp.Empty{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err = stream.Recv(); err != nil {
		t.Fatal(err)
	}
	p.end(t)
	if _, err = stream.Recv(); status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), "shutting down") {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(k.dir, "plugin.sock")); !os.IsNotExist(err) {
		t.Errorf("the socket is still there: %v", err)
	}
}

// A kubelet that does not read for a while gets the latest list, and the
// plugin stays well.
func TestSlowReader(t *testing.T) {
	k, _ := startPlugin(t)
	stream, err := k.plugin().ListAndWatch(within(t), &dp.Empty{})
	if err != nil {
		t.Fatal(err)
	}
	c := k.plugin()
	const n = 3000
	for i := 0; i < n; i++ {
		if _, err := allocate(within(t), c, "next"); err != nil {
			t.Fatal(err)
		}
	}
	last := ""
	count := 0
	for last != fmt.Sprintf("list-%d", n) {
		list, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		last = list.Devices[0].ID
		count++
	}
	t.Logf("%d lists of %d were read", count, n)
}

func TestAuthorities(t *testing.T) {
	k, _ := startPlugin(t)
	socket := filepath.Join(k.dir, "plugin.sock")
	for _, authority := range []string{"localhost", socket, strings.ReplaceAll(socket, "/", "%2F"), "x:1"} {
		_, err := k.plugin(grpc.WithAuthority(authority)).GetDevicePluginOptions(within(t), &dp.Empty{})
		if err != nil {
			t.Errorf("authority %q: %v", authority, err)
		}
	}
	// As the kubelet's plugin watcher dials, and by grpc-go's own schemes.
	old, err := grpc.DialContext(within(t), socket, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithBlock(),
		grpc.WithContextDialer(func(ctx context.Context, addr string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", addr)
		}))
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close()
	if _, err := dp.NewDevicePluginClient(old).GetDevicePluginOptions(within(t), &dp.Empty{}); err != nil {
		t.Errorf("dialed as the kubelet does: %v", err)
	}
	for _, target := range []string{"unix:" + socket, "unix://" + socket} {
		conn, err := grpc.NewClient(target, grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := dp.NewDevicePluginClient(conn).GetDevicePluginOptions(within(t), &dp.Empty{}); err != nil {
			t.Errorf("target %q: %v", target, err)
		}
	}
}

func TestUnknownMethodAndCompression(t *testing.T) {
	k, _ := startPlugin(t)
	conn := dial(t, filepath.Join(k.dir, "plugin.sock"))
	if err := conn.Invoke(within(t), "/v1beta1.DevicePlugin/Nothing", &dp.Empty{}, &dp.Empty{}); status.Code(err) != codes.Unimplemented {
		t.Error(err)
	}
	// Not empty: grpc-go leaves nothing uncompressed but what has no bytes.
	request := &dp.AllocateRequest{ContainerRequests: []*dp.ContainerAllocateRequest{{DevicesIds: []string{"a"}}}}
	if err := conn.Invoke(within(t), "/v1beta1.DevicePlugin/Allocate", request, &dp.AllocateResponse{},
		grpc.UseCompressor("gzip")); status.Code(err) != codes.Unimplemented {
		t.Error(err)
	}
}

func TestPluginWatcher(t *testing.T) {
	k, p := startPlugin(t)
	socket := filepath.Join(k.dir, "gaudi-reg.sock")
	c := pw.NewRegistrationClient(dial(t, socket, grpc.WithAuthority(socket)))
	info, err := c.GetInfo(within(t), &pw.InfoRequest{})
	if err != nil || info.Type != pw.DevicePlugin || info.Name != "habana.ai/gaudi" || len(info.SupportedVersions) != 1 ||
		info.Endpoint != "" {
		t.Errorf("%v, %v", info, err)
	}
	if _, err := c.NotifyRegistrationStatus(within(t), &pw.RegistrationStatus{Error: "no room"}); err != nil {
		t.Error(err)
	}
	if line := p.expect(t, "notified"); line != "notified 0 no room" {
		t.Error(line)
	}
	// The same socket serves the plugin itself.
	if _, err := allocate(within(t), dp.NewDevicePluginClient(dial(t, socket)), "watched"); err != nil {
		t.Error(err)
	}
}

func TestManyCallsAtOnce(t *testing.T) {
	k, _ := startPlugin(t)
	c := k.plugin()
	errs := make(chan error)
	for i := 0; i < 200; i++ {
		go func() {
			_, err := allocate(within(t), c, "one of many")
			errs <- err
		}()
	}
	for i := 0; i < 200; i++ {
		if err := <-errs; err != nil {
			t.Fatal(err)
		}
	}
}

// --- the other way: our client, grpc-go's server ---------------------------------

type lister struct {
	pr.UnimplementedPodResourcesListerServer
	pods  []*pr.PodResources
	calls int
	busy  int
	sleep time.Duration
	err   error
	left  time.Duration // the caller's deadline, as we were told
}

func (l *lister) List(ctx context.Context, _ *pr.ListPodResourcesRequest) (*pr.ListPodResourcesResponse, error) {
	l.calls++
	if l.calls <= l.busy {
		return nil, status.Error(codes.ResourceExhausted, "rejected by rate limit")
	}
	if deadline, ok := ctx.Deadline(); ok {
		l.left = time.Until(deadline)
	}
	select {
	case <-time.After(l.sleep):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if l.err != nil {
		return nil, l.err
	}
	return &pr.ListPodResourcesResponse{PodResources: l.pods}, nil
}

func pod(namespace, name string, ids ...string) *pr.PodResources {
	return &pr.PodResources{Namespace: namespace, Name: name, Containers: []*pr.ContainerResources{{
		Name: "main", CpuIds: []int64{1, 2},
		Memory:  []*pr.ContainerMemory{{MemoryType: "memory", Size: 5}},
		Devices: []*pr.ContainerDevices{{ResourceName: "other.com/x", DeviceIds: []string{"no"}}, {ResourceName: "habana.ai/gaudi", DeviceIds: ids}},
	}}}
}

func servePods(t *testing.T, l *lister, options ...grpc.ServerOption) (*grpc.Server, string) {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "interop")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	socket := filepath.Join(dir, "pods.sock")
	listener, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(append(options, grpc.MaxSendMsgSize(64<<20))...)
	pr.RegisterPodResourcesListerServer(server, l)
	go server.Serve(listener)
	t.Cleanup(server.Stop)
	return server, socket
}

func askAt(socket, namespace, name string) (string, error) {
	out, err := exec.Command(os.Getenv("PEER"), "pods", socket, namespace, name, "habana.ai/gaudi").Output()
	return strings.TrimSpace(string(out)), err
}

func ask(t *testing.T, l *lister, namespace, name string) (string, error) {
	t.Helper()
	_, socket := servePods(t, l)
	return askAt(socket, namespace, name)
}

func TestPodResources(t *testing.T) {
	pods := []*pr.PodResources{pod("a", "x", "id1", "id2"), pod("b", "x", "id3"), pod("b", "twice", "id4"), pod("b", "twice", "id5")}
	if out, err := ask(t, &lister{pods: pods}, "a", "x"); err != nil || out != "id1\nid2" {
		t.Errorf("%q, %v", out, err)
	}
	if out, err := ask(t, &lister{pods: pods, busy: 3}, "b", "x"); err != nil || out != "id3" {
		t.Errorf("after a busy answer: %q, %v", out, err)
	}
	if out, err := ask(t, &lister{pods: pods}, "b", "twice"); err == nil || !strings.Contains(out, "ENOTUNIQ") {
		t.Errorf("%q, %v", out, err)
	}
	if out, err := ask(t, &lister{pods: pods}, "c", "x"); err == nil || !strings.Contains(out, "ENOENT") {
		t.Errorf("%q, %v", out, err)
	}
	if out, err := ask(t, &lister{sleep: time.Minute}, "c", "x"); err == nil || !strings.Contains(out, "ETIMEDOUT") {
		t.Errorf("%q, %v", out, err)
	}
}

func TestPodResourcesBigAnswers(t *testing.T) {
	big := pod("n", "big", strings.Repeat("a", 12<<20))
	if out, err := ask(t, &lister{pods: []*pr.PodResources{big}}, "n", "big"); err != nil || len(out) != 12<<20 {
		t.Errorf("12 MiB: %d bytes, %v", len(out), err)
	}
	big = pod("n", "big", strings.Repeat("a", 17<<20))
	if out, err := ask(t, &lister{pods: []*pr.PodResources{big}}, "n", "big"); err == nil || !strings.Contains(out, "EMSGSIZE") {
		t.Errorf("17 MiB: %.100s, %v", out, err)
	}
}
