package cnm

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"cni.tuplenet/attach"

	"tuplenet/internal/store"
	"tuplenet/plugins/roles"
)

// patience is how long etcd and the agent may take for what Docker waits for.
// Docker itself waits for longer, and makes several calls, one after another, where
// a person gives it one command.
const patience = 5 * time.Second

// How long an agent that is just being started is waited for, and how often it is
// looked for.
const (
	agentStarts = 3 * time.Second
	agentPause  = 50 * time.Millisecond
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

// denied names in an error that etcd denies something the role that is missing: that
// for a router or, if router is empty, for the one of the configuration.
func (p *Plugin) denied(err error, router string) error {
	return roles.Missing(err, p.store, store.Party{Duty: store.DutyDocker, Of: cmp.Or(router, p.cfg.EgressRouter)})
}

// dial begins a conversation with the agent. As a host starts, Docker may be there
// before it: and what Docker cannot start then of its containers it does not try
// again.
func (p *Plugin) dial(ctx context.Context) (*attach.Client, error) {
	for end := time.Now().Add(agentStarts); ; {
		agent, err := attach.Dial(p.cfg.RunDir)
		var failed *attach.Error
		if !errors.As(err, &failed) || failed.Code != attach.CodeTryLater || time.Now().After(end) {
			return agent, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(agentPause):
		}
	}
}

// status asks the agent whether containers could be attached, to switches if there
// are any.
func (p *Plugin) status(ctx context.Context, switches ...attach.Switch) (attach.Answer, error) {
	agent, err := p.dial(ctx)
	if err != nil {
		return attach.Answer{}, err
	}
	defer agent.Close(0)
	defer context.AfterFunc(ctx, func() { agent.Close(0) })()
	answer, err := agent.Ask(attach.Request{Op: attach.Status, Plugin: attach.CNM, Bridge: p.cfg.Bridge, Etcd: p.cfg.etcd(), Switches: switches}, patience)
	if err != nil && ctx.Err() != nil { // which has ended the conversation
		err = fmt.Errorf("the agent of this host has not answered in time: see what it waits for with tuplenet doctor, or in its log (%w)", ctx.Err())
	}
	return answer, err
}
