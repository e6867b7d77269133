// A small server and client for pods under test.
//
//	testapp serve [-abrupt] [-grpc ADDR] ADDR    until SIGTERM: then a graceful Shutdown, or with -abrupt at once
//	testapp get URL…                             one request each
//	testapp load [-every DURATION] [-clients N] URL SECONDS
//	testapp healthy yes|no                       what the server's probes say from now on
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"
)

// While it exists the server says it is unwell; an exec probe looks at it, too.
const unwell = "/unwell"

func main() {
	commands := map[string]func([]string){"serve": serve, "get": get, "load": load, "healthy": healthy}
	if len(os.Args) < 3 || commands[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: testapp serve|get|load|healthy …")
		os.Exit(2)
	}
	commands[os.Args[1]](os.Args[2:])
}

func healthy(arguments []string) {
	if arguments[0] == "yes" {
		os.Remove(unwell)
	} else if err := os.WriteFile(unwell, nil, 0o644); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

func well() bool {
	_, err := os.Stat(unwell)
	return errors.Is(err, os.ErrNotExist)
}

func serve(arguments []string) {
	flags := flag.NewFlagSet("serve", flag.ExitOnError)
	abrupt := flags.Bool("abrupt", false, "end at once when told to")
	rpc := flags.String("grpc", "", "serve gRPC's health service here")
	flags.Parse(arguments)
	host, _ := os.Hostname()
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		d, _ := time.ParseDuration(r.URL.Query().Get("sleep"))
		time.Sleep(d)
		fmt.Fprintf(w, "%s %s from %s, agent %q\n", host, r.URL.Path, r.RemoteAddr, r.UserAgent())
	})
	http.HandleFunc("/probe", func(w http.ResponseWriter, r *http.Request) {
		if !well() {
			http.Error(w, "unwell", http.StatusServiceUnavailable)
		}
	})
	s := &http.Server{Addr: flags.Arg(0)}
	end, done := make(chan os.Signal, 1), make(chan struct{})
	signal.Notify(end, syscall.SIGTERM, syscall.SIGINT)
	if *rpc != "" {
		go serveHealth(*rpc)
	}
	go func() {
		<-end
		fmt.Println("app: told to end")
		if *abrupt {
			os.Exit(0)
		}
		within, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		fmt.Println("app: ends,", s.Shutdown(within))
		close(done)
	}()
	fmt.Println("app: listening on", s.Addr)
	if err := listen(s); !errors.Is(err, http.ErrServerClosed) {
		fmt.Println(err)
		os.Exit(1)
	}
	<-done
}

// With /deaf the server stops listening until it is gone: a TCP probe sees that.
func listen(s *http.Server) error {
	for {
		l, err := net.Listen("tcp", s.Addr)
		if err != nil {
			return err
		}
		over := make(chan struct{})
		go func() {
			for {
				if _, err := os.Stat("/deaf"); err == nil {
					l.Close()
					return
				}
				select {
				case <-over:
					return
				case <-time.After(100 * time.Millisecond):
				}
			}
		}()
		err = s.Serve(l)
		close(over)
		if errors.Is(err, http.ErrServerClosed) {
			return err
		}
		for {
			if _, err := os.Stat("/deaf"); err != nil {
				break
			}
			time.Sleep(100 * time.Millisecond)
		}
	}
}

func serveHealth(address string) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	server, state := grpc.NewServer(), health.NewServer()
	grpc_health_v1.RegisterHealthServer(server, state)
	go func() {
		for ; ; time.Sleep(100 * time.Millisecond) {
			if well() {
				state.SetServingStatus("", grpc_health_v1.HealthCheckResponse_SERVING)
			} else {
				state.SetServingStatus("", grpc_health_v1.HealthCheckResponse_NOT_SERVING)
			}
		}
	}()
	fmt.Println(server.Serve(l))
}

func get(urls []string) {
	bad := 0
	for _, u := range urls {
		at := time.Now()
		r, err := http.Get(u)
		if err != nil {
			fmt.Println(u, "error", err)
			bad = 1
			continue
		}
		b, err := io.ReadAll(r.Body)
		r.Body.Close()
		fmt.Printf("%s %d %dms reason=%q err=%v %q\n", u, r.StatusCode, time.Since(at).Milliseconds(), r.Header.Get("lapse-reason"), err, b)
	}
	os.Exit(bad)
}

// Clients with kept connections; prints how often what was seen, as JSON. net/http's own rules for stale connections apply.
func load(arguments []string) {
	flags := flag.NewFlagSet("load", flag.ExitOnError)
	every := flags.Duration("every", 50*time.Millisecond, "pause between two requests of a client")
	clients := flags.Int("clients", 6, "how many")
	flags.Parse(arguments)
	seconds, _ := strconv.Atoi(flags.Arg(1))
	end, seen, lock, group := time.Now().Add(time.Duration(seconds)*time.Second), map[string]int{}, sync.Mutex{}, sync.WaitGroup{}
	for range *clients {
		group.Go(func() {
			client := http.Client{Transport: &http.Transport{}, Timeout: 30 * time.Second}
			for time.Now().Before(end) {
				what := once(client, flags.Arg(0))
				lock.Lock()
				seen[what]++
				lock.Unlock()
				time.Sleep(*every)
			}
		})
	}
	group.Wait()
	json.NewEncoder(os.Stdout).Encode(seen)
}

func once(client http.Client, url string) string {
	r, err := client.Get(url)
	if err != nil {
		text := err.Error()
		for _, kind := range []string{"connection refused", "connection reset", "EOF", "i/o timeout", "Timeout exceeded"} {
			if strings.Contains(text, kind) {
				return "error " + kind
			}
		}
		return "error " + text
	}
	defer r.Body.Close()
	if _, err = io.Copy(io.Discard, r.Body); err != nil {
		return "error in the body: " + err.Error()
	}
	return strings.TrimSpace(fmt.Sprint(r.StatusCode, " ", r.Header.Get("lapse-reason")))
}
