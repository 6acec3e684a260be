package cnm

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"cni.tuplenet/attach"

	"tuplenet/internal/store"
)

// How long etcd and the agent may take for what Docker waits for. Docker itself
// waits for longer.
const (
	patience        = 10 * time.Second
	releasePatience = 5 * time.Second
)

// Plugin serves the engine of one host. Its methods may be called by several
// goroutines.
type Plugin struct {
	cfg    Config
	store  *store.Store
	engine *engine
	log    *slog.Logger
	given  given
	again  chan struct{} // see lookAgain

	endpoints locks // by device: what is done to an endpoint, is done one after another

	mu   sync.Mutex
	self string // this host's system-id, once the agent has told it
}

// New returns a plugin that works with the topology in st, which it does not
// close.
func New(cfg Config, st *store.Store, log *slog.Logger) *Plugin {
	return &Plugin{cfg: cfg, store: st, engine: newEngine(cfg.DockerSocket), log: log, given: newGiven(), again: make(chan struct{}, 1)}
}

// chassis returns this host's system-id, which its agent knows.
func (p *Plugin) chassis(ctx context.Context) (string, error) {
	p.mu.Lock()
	self := p.self
	p.mu.Unlock()
	if self != "" {
		return self, nil
	}
	answer, err := p.status(ctx) // each caller for itself: an agent that hangs delays them by no more than that
	if err != nil {
		return "", fmt.Errorf("find out which chassis this host is: %w", err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.self = answer.Chassis
	return p.self, nil
}

// status asks the agent whether containers could be attached, to switches if there
// are any.
func (p *Plugin) status(ctx context.Context, switches ...attach.Switch) (attach.Answer, error) {
	agent, err := attach.Dial(p.cfg.RunDir)
	if err != nil {
		return attach.Answer{}, err
	}
	defer agent.Close(0)
	defer context.AfterFunc(ctx, func() { agent.Close(0) })()
	return agent.Ask(attach.Request{Op: attach.Status, Plugin: attach.CNM, Bridge: p.cfg.Bridge, Etcd: p.cfg.etcd(), Switches: switches}, patience)
}
