package modes

import (
	"context"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"tuplenet/internal/agent"
)

// readyPatience is how long a service that waits for others has not started yet.
// Then it has, so that neither the start of the host nor an upgrade waits for etcd.
const readyPatience = 15 * time.Second

// statusEvery is how old the status of an agent may be.
const statusEvery = 10 * time.Second

// service tells systemd how this process is, if that has started it and wants to
// know (sd_notify(3), and WatchdogSec= in systemd.service(5)).
type service struct {
	log      *slog.Logger
	wanted   bool
	started  time.Time
	isReady  bool
	status   string
	watchdog time.Duration // it has to be fed in this time; 0: there is none
}

// newService returns the service that this process is. When ctx ends, it stops.
func newService(ctx context.Context, log *slog.Logger) *service {
	s := &service{log: log, started: time.Now(), wanted: os.Getenv("NOTIFY_SOCKET") != ""}
	var err error
	if s.watchdog, err = daemon.SdWatchdogEnabled(false); err != nil {
		log.Warn("systemd's watchdog will not be fed", "error", err)
	}
	context.AfterFunc(ctx, func() { s.notify(daemon.SdNotifyStopping) })
	return s
}

func (s *service) notify(state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		s.log.Warn("telling systemd", "state", state, "error", err)
	}
}

// ready tells that the service has started.
func (s *service) ready() { s.notify(daemon.SdNotifyReady) }

// feed feeds the watchdog until ctx ends, as long as alive succeeds.
func (s *service) feed(ctx context.Context, alive func(context.Context) error) {
	if s.watchdog == 0 {
		return
	}
	ticker := time.NewTicker(s.watchdog / 4)
	defer ticker.Stop()
	for {
		try, cancel := context.WithTimeout(ctx, s.watchdog/4)
		err := alive(try)
		cancel()
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			s.log.Warn("no answer from within; systemd will start this service anew if that goes on", "error", err)
		default:
			s.notify(daemon.SdNotifyWatchdog)
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

// heartbeat has an agent tell as long as it lives, if somebody wants to know. The
// service has started when nothing is missing any more, or has been for too long.
func (s *service) heartbeat(cfg *agent.Config) {
	if !s.wanted {
		return
	}
	cfg.HeartbeatEvery = statusEvery
	if s.watchdog > 0 {
		cfg.HeartbeatEvery = min(statusEvery, s.watchdog/4)
	}
	cfg.Heartbeat = func(missing []string) {
		states := []string{daemon.SdNotifyWatchdog}
		if !s.isReady && (len(missing) == 0 || time.Since(s.started) > readyPatience) {
			s.isReady = true
			states = append(states, daemon.SdNotifyReady)
		}
		status := "all is in place"
		if len(missing) > 0 {
			status = "waits: " + strings.Join(missing, "; ")
		}
		if status != s.status {
			s.status = status
			states = append(states, "STATUS="+status)
		}
		s.notify(strings.Join(states, "\n"))
	}
}
