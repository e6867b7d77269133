// Calls of grpc-go over loopback, each test a server and a client of its own: what comes of them is the same with a proxy in between.
package calls

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"
	"google.golang.org/grpc/status"
)

// Messages are bytes as they are.
type raw struct{}

func (raw) Marshal(value any) ([]byte, error)      { return *value.(*[]byte), nil }
func (raw) Unmarshal(data []byte, value any) error { *value.(*[]byte) = append([]byte{}, data...); return nil }
func (raw) Name() string                           { return "raw" }

type server struct {
	*grpc.Server
	address   string
	cancelled atomic.Int32
	open      atomic.Int32
	release   chan struct{}
}

func serve(t *testing.T, options ...grpc.ServerOption) *server {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &server{address: listener.Addr().String(), release: make(chan struct{})}
	options = append(options, grpc.ForceServerCodec(raw{}), grpc.UnknownServiceHandler(s.handle), grpc.MaxRecvMsgSize(64<<20))
	s.Server = grpc.NewServer(options...)
	go s.Serve(listener)
	t.Cleanup(s.Stop)
	return s
}

// handle serves every method by its name: Echo all messages in turn, Sum their lengths, Count down from the first, Wait for release.
func (s *server) handle(_ any, stream grpc.ServerStream) error {
	method, _ := grpc.MethodFromServerStream(stream)
	var message []byte
	switch name := method[strings.LastIndex(method, "/")+1:]; name {
	case "Echo":
		given, _ := metadata.FromIncomingContext(stream.Context())
		stream.SetTrailer(metadata.Pairs("x-trailer", strings.Join(given.Get("x-given"), ",")))
		for {
			if err := stream.RecvMsg(&message); err == io.EOF {
				return nil
			} else if err != nil {
				return err
			}
			if err := stream.SendMsg(&message); err != nil {
				return err
			}
		}
	case "Sum":
		sum := 0
		for stream.RecvMsg(&message) == nil {
			sum += len(message)
		}
		message = []byte(fmt.Sprint(sum))
		return stream.SendMsg(&message)
	case "Count":
		if err := stream.RecvMsg(&message); err != nil {
			return err
		}
		var number int
		fmt.Sscan(string(message), &number)
		for ; number > 0; number-- {
			message = bytes.Repeat([]byte{byte(number)}, 100)
			if err := stream.SendMsg(&message); err != nil {
				return err
			}
		}
		return nil
	case "Wait":
		s.open.Add(1)
		if err := stream.RecvMsg(&message); err != nil {
			return err
		}
		select {
		case <-stream.Context().Done():
			s.cancelled.Add(1)
			return stream.Context().Err()
		case <-s.release:
			return stream.SendMsg(&message)
		}
	case "Fail":
		return status.Error(codes.DataLoss, "of a kind: 100 % …")
	}
	return status.Error(codes.Unimplemented, method)
}

func dial(t *testing.T, target string, options ...grpc.DialOption) *grpc.ClientConn {
	options = append(options, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.ForceCodec(raw{}), grpc.MaxCallRecvMsgSize(64<<20)))
	conn, err := grpc.NewClient(target, options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func within(t *testing.T, patience time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

func echo(ctx context.Context, conn *grpc.ClientConn, message []byte, options ...grpc.CallOption) error {
	var answer []byte
	if err := conn.Invoke(ctx, "/lapse.Test/Echo", &message, &answer, options...); err != nil {
		return err
	}
	if !bytes.Equal(message, answer) {
		return errors.New("another message came back")
	}
	return nil
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func expect(t *testing.T, err error, code codes.Code) *status.Status {
	t.Helper()
	if status.Code(err) != code {
		t.Fatalf("%v, expected %v", err, code)
	}
	return status.Convert(err)
}

func open(t *testing.T, ctx context.Context, conn *grpc.ClientConn, method string) grpc.ClientStream {
	stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, "/lapse.Test/"+method)
	must(t, err)
	return stream
}

func TestUnary(t *testing.T) {
	conn := dial(t, serve(t).address)
	for _, size := range []int{0, 1, 1000, 16384, 70000} {
		must(t, echo(within(t, 20*time.Second), conn, bytes.Repeat([]byte("x"), size)))
	}
}

func TestMetadata(t *testing.T) {
	conn := dial(t, serve(t).address)
	for number := 0; number < 300; number++ {
		var trailer metadata.MD
		given := fmt.Sprint(number%17, strings.Repeat("v", number%50))
		ctx := metadata.AppendToOutgoingContext(within(t, 20*time.Second), "x-given", given, "x-binary-bin", "\x00\xff")
		must(t, echo(ctx, conn, []byte("m"), grpc.Trailer(&trailer)))
		if found := trailer.Get("x-trailer"); len(found) != 1 || found[0] != given {
			t.Fatalf("trailer %v, expected %q", found, given)
		}
	}
}

func TestLarge(t *testing.T) {
	conn := dial(t, serve(t).address)
	for number := 0; number < 5; number++ {
		must(t, echo(within(t, 30*time.Second), conn, bytes.Repeat([]byte("large message"), 1<<20/13)))
	}
}

func TestServerStreaming(t *testing.T) {
	stream := open(t, within(t, 30*time.Second), dial(t, serve(t).address), "Count")
	message := []byte("5000")
	must(t, stream.SendMsg(&message))
	must(t, stream.CloseSend())
	count := 0
	for ; ; count++ {
		if err := stream.RecvMsg(&message); err == io.EOF {
			break
		} else {
			must(t, err)
		}
	}
	if count != 5000 {
		t.Fatalf("%d messages", count)
	}
}

func TestClientStreaming(t *testing.T) {
	stream := open(t, within(t, 30*time.Second), dial(t, serve(t).address), "Sum")
	for number := 0; number < 2000; number++ {
		message := make([]byte, number)
		must(t, stream.SendMsg(&message))
	}
	must(t, stream.CloseSend())
	var answer []byte
	must(t, stream.RecvMsg(&answer))
	if string(answer) != "1999000" {
		t.Fatalf("%s", answer)
	}
}

func TestBidirectional(t *testing.T) {
	stream := open(t, within(t, 30*time.Second), dial(t, serve(t).address), "Echo")
	for number := 0; number < 500; number++ {
		message, answer := []byte(fmt.Sprint(number)), []byte(nil)
		must(t, stream.SendMsg(&message))
		must(t, stream.RecvMsg(&answer))
		if !bytes.Equal(message, answer) {
			t.Fatalf("%q for %q", answer, message)
		}
	}
	must(t, stream.CloseSend())
	if err := stream.RecvMsg(new([]byte)); err != io.EOF {
		t.Fatal(err)
	}
}

func TestStatus(t *testing.T) {
	conn := dial(t, serve(t).address)
	message := []byte("m")
	for method, code := range map[string]codes.Code{"Fail": codes.DataLoss, "Nothing": codes.Unimplemented} {
		found := expect(t, conn.Invoke(within(t, 20*time.Second), "/lapse.Test/"+method, &message, new([]byte)), code)
		if code == codes.DataLoss && found.Message() != "of a kind: 100 % …" {
			t.Fatalf("%q", found.Message())
		}
	}
}

func TestDeadline(t *testing.T) {
	s := serve(t)
	conn := dial(t, s.address)
	message := []byte("m")
	begun := time.Now()
	expect(t, conn.Invoke(within(t, 300*time.Millisecond), "/lapse.Test/Wait", &message, new([]byte)), codes.DeadlineExceeded)
	if took := time.Since(begun); took < 250*time.Millisecond || took > 3*time.Second {
		t.Fatalf("took %v", took)
	}
	must(t, echo(within(t, 20*time.Second), conn, message))
	soon(t, func() bool { return s.cancelled.Load() == 1 }, "the server's call goes on")
}

func TestCancel(t *testing.T) {
	s := serve(t)
	conn := dial(t, s.address)
	ctx, cancel := context.WithCancel(within(t, 20*time.Second))
	stream := open(t, ctx, conn, "Wait")
	message := []byte("m")
	must(t, stream.SendMsg(&message))
	soon(t, func() bool { return s.open.Load() == 1 }, "the call does not begin")
	cancel()
	expect(t, stream.RecvMsg(&message), codes.Canceled)
	soon(t, func() bool { return s.cancelled.Load() == 1 }, "the server is not told")
	must(t, echo(within(t, 20*time.Second), conn, message))
}

func soon(t *testing.T, holds func() bool, why string) {
	t.Helper()
	for until := time.Now().Add(10 * time.Second); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(until) {
			t.Fatal(why)
		}
	}
}

func TestThousandStreams(t *testing.T) {
	s := serve(t, grpc.MaxConcurrentStreams(2000))
	conn := dial(t, s.address)
	ctx := within(t, 40*time.Second)
	var wait sync.WaitGroup
	failed := make(chan error, 1000)
	for number := 0; number < 1000; number++ {
		wait.Add(1)
		go func() {
			defer wait.Done()
			message := []byte("m")
			if err := conn.Invoke(ctx, "/lapse.Test/Wait", &message, new([]byte)); err != nil {
				failed <- err
			}
		}()
	}
	soon(t, func() bool { return s.open.Load() == 1000 }, "not all calls are open at once")
	close(s.release)
	wait.Wait()
	if len(failed) > 0 {
		t.Fatalf("%d failed: %v", len(failed), <-failed)
	}
}

func TestSlowReader(t *testing.T) {
	stream := open(t, within(t, 40*time.Second), dial(t, serve(t).address, grpc.WithInitialWindowSize(65535)), "Count")
	message := []byte("20000")
	must(t, stream.SendMsg(&message))
	time.Sleep(time.Second)
	for number := 20000; number > 0; number-- {
		must(t, stream.RecvMsg(&message))
		if len(message) != 100 || message[0] != byte(number) {
			t.Fatalf("message %d is another one", number)
		}
	}
}

func TestTooManyPings(t *testing.T) {
	s := serve(t, grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 5 * time.Minute}))
	conn := dial(t, s.address, grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 10 * time.Second, Timeout: 10 * time.Second}))
	message := []byte("m")
	found := expect(t, conn.Invoke(within(t, 50*time.Second), "/lapse.Test/Wait", &message, new([]byte)), codes.Unavailable)
	if !strings.Contains(found.Message(), "too_many_pings") || !strings.Contains(found.Message(), "ENHANCE_YOUR_CALM") {
		t.Fatalf("%q", found.Message())
	}
}

func TestKeepaliveOfTheServer(t *testing.T) {
	s := serve(t, grpc.KeepaliveParams(keepalive.ServerParameters{Time: time.Second, Timeout: time.Second}))
	conn := dial(t, s.address)
	time.AfterFunc(4*time.Second, func() { close(s.release) })
	message := []byte("m")
	must(t, conn.Invoke(within(t, 20*time.Second), "/lapse.Test/Wait", &message, new([]byte)))
}

func TestConnectionAge(t *testing.T) {
	s := serve(t, grpc.KeepaliveParams(keepalive.ServerParameters{MaxConnectionAge: 400 * time.Millisecond, MaxConnectionAgeGrace: 10 * time.Second}))
	conn := dial(t, s.address)
	waiting := make(chan error, 1)
	go func() {
		message := []byte("m")
		waiting <- conn.Invoke(within(t, 30*time.Second), "/lapse.Test/Wait", &message, new([]byte))
	}()
	for until := time.Now().Add(3 * time.Second); time.Now().Before(until); time.Sleep(2 * time.Millisecond) {
		must(t, echo(within(t, 10*time.Second), conn, []byte("m")))
	}
	close(s.release)
	must(t, <-waiting)
}

func TestGracefulStop(t *testing.T) {
	s := serve(t)
	conn := dial(t, s.address)
	done := make(chan error, 1)
	go func() {
		message := []byte("m")
		done <- conn.Invoke(within(t, 20*time.Second), "/lapse.Test/Wait", &message, new([]byte))
	}()
	soon(t, func() bool { return s.open.Load() == 1 }, "the call does not begin")
	stopped := make(chan struct{})
	go func() { s.GracefulStop(); close(stopped) }()
	time.Sleep(300 * time.Millisecond)
	close(s.release)
	must(t, <-done)
	select {
	case <-stopped:
	case <-time.After(10 * time.Second):
		t.Fatal("the server does not stop")
	}
}

func TestFirstAddressDead(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	dead := listener.Addr().String()
	listener.Close()
	live := serve(t).address
	for number := 0; number < 20; number++ {
		addresses := manual.NewBuilderWithScheme("lapse")
		addresses.InitialState(resolver.State{Addresses: []resolver.Address{{Addr: dead}, {Addr: live}}})
		conn := dial(t, "lapse:///any", grpc.WithResolvers(addresses))
		must(t, echo(within(t, 10*time.Second), conn, []byte("m")))
	}
}
