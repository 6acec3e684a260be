package metrics

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"os"
	"time"
)

// Profiles serves Go's profiles (net/http/pprof) on a Unix socket while they are
// wanted: each signal begins that, or ends it, and the end of ctx does. A socket
// whose owner alone may use it is open to fewer than a loopback address would be;
// profiles show what is in the process.
func Profiles(ctx context.Context, socket string, signals <-chan os.Signal, log *slog.Logger) {
	var server *http.Server
	stop := func() {
		if server != nil {
			server.Close() // and the socket goes
			server = nil
		}
	}
	defer stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-signals:
		}
		if server != nil {
			stop()
			log.Info("profiles are not served any more", "socket", socket)
			continue
		}
		l, err := listenAlone(socket)
		if err != nil {
			log.Error("cannot serve profiles", "error", err)
			continue
		}
		server = &http.Server{Handler: profiles(), ReadHeaderTimeout: 5 * time.Second}
		go server.Serve(l)
		log.Info("serving profiles; the same signal ends that", "socket", socket,
			"example", fmt.Sprintf("curl --unix-socket %s http://agent/debug/pprof/heap -o heap", socket))
	}
}

// listenAlone listens on a Unix socket that nobody but this user can connect to.
func listenAlone(socket string) (net.Listener, error) {
	if err := os.Remove(socket); err != nil && !errors.Is(err, fs.ErrNotExist) { // of an agent that was killed
		return nil, err
	}
	l, err := net.Listen("unix", socket)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(socket, 0o600); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

func profiles() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/debug/pprof/", pprof.Index)
	mux.HandleFunc("/debug/pprof/cmdline", pprof.Cmdline)
	mux.HandleFunc("/debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	mux.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return mux
}
