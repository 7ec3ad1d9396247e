// SPDX-License-Identifier: Apache-2.0

package interop

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	dp "k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1"
	pr "k8s.io/kubelet/pkg/apis/podresources/v1"
)

// --- our server -------------------------------------------------------------------

func TestHundredStreamsOnOneConnection(t *testing.T) {
	k, _ := startPlugin(t)
	c := k.plugin()
	errs := make(chan error)
	const n = 99
	for i := 0; i < n; i++ {
		stream, err := c.ListAndWatch(within(t), &dp.Empty{})
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			for {
				list, err := stream.Recv()
				if err != nil || list.Devices[0].ID == "list-1" {
					errs <- err
					return
				}
			}
		}()
	}
	// The hundredth changes the list that all the others wait for.
	if _, err := allocate(within(t), c, "next"); err != nil {
		t.Fatal(err)
	}
	for i := 0; i < n; i++ {
		if err := <-errs; err != nil {
			t.Fatal(err)
		}
	}
}

// More calls than streams at a time: grpc-go waits for its turn.
func TestMoreCallsThanStreams(t *testing.T) {
	k, _ := startPlugin(t)
	c := k.plugin()
	errs := make(chan error)
	for i := 0; i < 1000; i++ {
		go func() {
			r, err := allocate(within(t), c, fmt.Sprint("id-", i))
			if err == nil && r.ContainerResponses[0].Envs["ID"] != fmt.Sprint("id-", i) {
				err = fmt.Errorf("%d got the answer of another: %v", i, r)
			}
			errs <- err
		}()
	}
	for i := 0; i < 1000; i++ {
		if err := <-errs; err != nil {
			t.Fatal(err)
		}
	}
}

func TestFloodOfConnections(t *testing.T) {
	k, _ := startPlugin(t)
	stream, err := k.plugin().ListAndWatch(within(t), &dp.Empty{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	for i := 0; i < 200; i++ {
		conn, err := net.Dial("unix", filepath.Join(k.dir, "plugin.sock"))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if i%2 == 0 {
			conn.Write([]byte(http2.ClientPreface))
		}
	}
	if _, err := allocate(within(t), k.plugin(), "next"); err != nil {
		t.Fatalf("kept out: %v", err)
	}
	for id := ""; id != "list-1"; {
		list, err := stream.Recv()
		if err != nil {
			t.Fatalf("the stream was given up for others: %v", err)
		}
		id = list.Devices[0].ID
	}
}

func TestDeadlineIsTold(t *testing.T) {
	k, p := startPlugin(t)
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if _, err := k.plugin().PreStartContainer(ctx, &dp.PreStartContainerRequest{}); err != nil {
		t.Fatal(err)
	}
	var left int
	if _, err := fmt.Sscanf(p.expect(t, "prestart"), "prestart %d", &left); err != nil || left < 20000 || left > 30000 {
		t.Errorf("%d ms left, %v", left, err)
	}
}

func TestShutdownLetsCallsEnd(t *testing.T) {
	k, p := startPlugin(t)
	c := k.plugin()
	result := make(chan error)
	go func() {
		_, err := c.PreStartContainer(within(t), &dp.PreStartContainerRequest{})
		result <- err
	}()
	p.expect(t, "prestart")
	p.cmd.Process.Signal(syscall.SIGTERM)
	if err := <-result; err != nil {
		t.Errorf("a call under way: %v", err)
	}
	if _, err := allocate(within(t), c, "late"); status.Code(err) != codes.Unavailable {
		t.Errorf("a call after the end: %v", err)
	}
	p.end(t)
}

// What a kubelet sends besides, and more of it than we take.
func TestMetadata(t *testing.T) {
	k, _ := startPlugin(t)
	c := k.plugin()
	ctx := metadata.AppendToOutgoingContext(within(t), "traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "blob-bin", "\x00\x01\xff")
	if _, err := allocate(ctx, c, "traced"); err != nil {
		t.Error(err)
	}
	ctx = metadata.AppendToOutgoingContext(within(t), "long", strings.Repeat("x", 20000))
	if _, err := allocate(ctx, c, "long"); err == nil {
		t.Error("20 KB of headers were taken")
	}
	if _, err := allocate(within(t), c, "after that"); err != nil {
		t.Error(err)
	}
}

func http2Client(socket string) *http.Client {
	p := new(http.Protocols)
	p.SetUnencryptedHTTP2(true)
	return &http.Client{Timeout: limit, Transport: &http.Transport{Protocols: p,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", socket)
		}}}
}

// Peers that speak HTTP/2 and no gRPC, by Go's own HTTP client.
func TestHttpThatIsNoGrpc(t *testing.T) {
	k, _ := startPlugin(t)
	client := http2Client(filepath.Join(k.dir, "plugin.sock"))
	for _, c := range []struct {
		method, path, contentType string
		body                      string
		http                      int
		grpc                      string
	}{
		{"POST", "/v1beta1.DevicePlugin/GetDevicePluginOptions", "application/grpc", "\x00\x00\x00\x00\x00", 200, "0"},
		{"POST", "/v1beta1.DevicePlugin/GetDevicePluginOptions", "application/grpc+proto", "\x00\x00\x00\x00\x00", 200, "0"},
		{"POST", "/v1beta1.DevicePlugin/GetDevicePluginOptions", "application/json", "{}", 415, "3"},
		{"POST", "/v1beta1.DevicePlugin/GetDevicePluginOptions", "application/grpc-web", "\x00\x00\x00\x00\x00", 415, "3"},
		{"GET", "/healthz", "", "", 405, "13"},
		{"POST", "/v1beta1.DevicePlugin/Nothing", "application/grpc", "\x00\x00\x00\x00\x00", 200, "12"},
		{"POST", "/v1beta1.DevicePlugin/Allocate", "application/grpc", "\x01\x00\x00\x00\x01x", 200, "12"},
		{"POST", "/v1beta1.DevicePlugin/Allocate", "application/grpc", "\x00\xff\xff\xff\xffx", 200, "8"},
		{"POST", "/v1beta1.DevicePlugin/Allocate", "application/grpc", "\x00\x00\x00\x00\x09short", 200, "13"},
		{"POST", "/v1beta1.DevicePlugin/Allocate", "application/grpc", "", 200, "13"},
		{"POST", "/v1beta1.DevicePlugin/Allocate", "application/grpc", "\x00\x00\x00\x00\x02\x0a\xff", 200, "3"},
	} {
		request, err := http.NewRequestWithContext(within(t), c.method, "http://localhost"+c.path, strings.NewReader(c.body))
		if err != nil {
			t.Fatal(err)
		}
		if c.contentType != "" {
			request.Header.Set("Content-Type", c.contentType)
		}
		response, err := client.Do(request)
		if err != nil {
			t.Errorf("%s %s %q: %v", c.method, c.path, c.body, err)
			continue
		}
		io.Copy(io.Discard, response.Body)
		response.Body.Close()
		got := response.Trailer.Get("Grpc-Status") + response.Header.Get("Grpc-Status")
		if response.StatusCode != c.http || got != c.grpc {
			t.Errorf("%s %s %s %q: HTTP %d, gRPC %q", c.method, c.path, c.contentType, c.body, response.StatusCode, got)
		}
	}
}

// One frame at a time, as grpc-go would never send them.
func TestFrames(t *testing.T) {
	k, _ := startPlugin(t)
	conn, err := net.Dial("unix", filepath.Join(k.dir, "plugin.sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(limit))
	conn.Write([]byte(http2.ClientPreface))
	framer := http2.NewFramer(conn, conn)
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	headers := func(path string) []byte {
		block.Reset()
		for _, f := range [][2]string{{":method", "POST"}, {":scheme", "http"}, {":path", path}, {":authority", "/a/raw path"},
			{"content-type", "application/grpc"}, {"te", "trailers"}} {
			encoder.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]})
		}
		return bytes.Clone(block.Bytes())
	}
	framer.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 3})
	// Headers in three pieces, a message in as many frames as it has bytes, one of them padded, and
	// trailers of the client's at the end. In between a ping.
	h := headers("/v1beta1.DevicePlugin/Allocate")
	framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: h[:5]})
	framer.WriteContinuation(1, false, h[5:9])
	framer.WriteContinuation(1, true, h[9:])
	for i, b := range []byte("\x00\x00\x00\x00\x07\x0a\x05\x0a\x03abc") {
		framer.WriteDataPadded(1, false, []byte{b}, bytes.Repeat([]byte{0}, i%3))
	}
	framer.WritePing(false, [8]byte{1, 2, 3})
	block.Reset()
	encoder.WriteField(hpack.HeaderField{Name: "x-checksum", Value: "1"})
	framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes(), EndHeaders: true, EndStream: true})
	var data []byte
	acked := false
	decoder := hpack.NewDecoder(4096, nil)
	last := ""
	for last == "" {
		frame, err := framer.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		switch f := frame.(type) {
		case *http2.PingFrame:
			acked = acked || f.IsAck() && f.Data == [8]byte{1, 2, 3}
		case *http2.DataFrame:
			data = append(data, f.Data()...)
			if len(f.Data()) > 3 || f.StreamEnded() {
				t.Fatalf("%d bytes where the window is 3, end %v", len(f.Data()), f.StreamEnded())
			}
			framer.WriteWindowUpdate(1, uint32(len(f.Data())))
		case *http2.HeadersFrame:
			fields, err := decoder.DecodeFull(f.HeaderBlockFragment())
			if err != nil {
				t.Fatal(err)
			}
			for _, field := range fields {
				if field.Name == "grpc-status" {
					last = field.Value
				}
			}
			if f.StreamEnded() != (last != "") {
				t.Fatalf("END_STREAM %v with %v", f.StreamEnded(), fields)
			}
		case *http2.GoAwayFrame, *http2.RSTStreamFrame:
			t.Fatalf("%v", f)
		}
	}
	if last != "0" || !acked || len(data) < 5 || int(data[4])+5 != len(data)%256 {
		t.Errorf("status %s, ping acked %v, %d bytes", last, acked, len(data))
	}
}

// --- our client -------------------------------------------------------------------

func TestClientTellsItsDeadline(t *testing.T) {
	l := &lister{pods: []*pr.PodResources{pod("a", "x", "id1")}}
	if out, err := ask(t, l, "a", "x"); err != nil || out != "id1" {
		t.Errorf("%q, %v", out, err)
	}
	if l.left < 3*time.Second || l.left > 5*time.Second {
		t.Errorf("the server was told %v of 5 s", l.left)
	}
}

// The server pings and closes connections whose peers do not answer, and sends GOAWAY in the middle of the call.
func TestClientOfARestlessServer(t *testing.T) {
	l := &lister{pods: []*pr.PodResources{pod("a", "x", "id1")}, sleep: 3 * time.Second}
	_, socket := servePods(t, l, grpc.KeepaliveParams(keepalive.ServerParameters{Time: time.Second, Timeout: time.Second,
		MaxConnectionAge: time.Second, MaxConnectionAgeGrace: time.Minute}))
	if out, err := askAt(socket, "a", "x"); err != nil || out != "id1" {
		t.Errorf("%q, %v", out, err)
	}
}

func TestClientOfAServerThatStops(t *testing.T) {
	for _, graceful := range []bool{true, false} {
		l := &lister{pods: []*pr.PodResources{pod("a", "x", "id1")}, sleep: time.Second}
		server, socket := servePods(t, l)
		go func() {
			time.Sleep(300 * time.Millisecond)
			if graceful {
				server.GracefulStop()
			} else {
				server.Stop()
			}
		}()
		out, err := askAt(socket, "a", "x")
		if graceful && (err != nil || out != "id1") {
			t.Errorf("graceful: %q, %v", out, err)
		}
		if !graceful && (err == nil || !strings.Contains(out, "UNAVAILABLE")) {
			t.Errorf("not graceful: %q, %v", out, err)
		}
	}
}

func TestClientIsToldErrors(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
	}{
		{status.Error(codes.NotFound, "größer als 100%\nist nichts"), "NOT_FOUND: größer als 100%?ist nichts (ENOENT)"},
		{status.Error(codes.Unimplemented, ""), "UNIMPLEMENTED: no reason given (EOPNOTSUPP)"},
		{status.Error(codes.Unauthenticated, strings.Repeat("x", 5000)), "UNAUTHENTICATED: xxx"},
		{fmt.Errorf("no status"), "UNKNOWN: no status"},
	} {
		if out, err := ask(t, &lister{err: c.err}, "a", "x"); err == nil || !strings.HasPrefix(out, c.want) {
			t.Errorf("%v: %q, %v", c.err, out, err)
		}
	}
}
