package host

import (
	"slices"
	"strings"
	"sync"

	"cni.tuplenet/attach"

	"tuplenet/internal/store"
)

// stores are the ways to the topology: the agent's, and those of plugins whose
// configuration has an own access, which stay open for the next container.
type stores struct {
	own *store.Store

	mu    sync.Mutex
	other map[string]*store.Store // by what is in the configuration
}

// maxStores bounds the connections that configurations can make.
const maxStores = 8

// get returns the store that a plugin's configuration asks for.
func (s *stores) get(e *attach.Etcd) (*store.Store, error) {
	if e == nil {
		return s.own, nil
	}
	cfg := store.Config{Endpoints: e.Endpoints, Prefix: e.Prefix, CAFile: e.CAFile, CertFile: e.CertFile, KeyFile: e.KeyFile,
		Username: e.Username, Password: e.Password}
	if e.Prefix == "" {
		cfg.Prefix = s.own.Prefix()
	}
	if prefix := strings.TrimSuffix(cfg.Prefix, "/"); prefix != strings.TrimSuffix(s.own.Prefix(), "/") {
		return nil, fail(attach.CodeConfig, "data_store_prefix is %s, but this host's agent works with %s", prefix, strings.TrimSuffix(s.own.Prefix(), "/"))
	}
	plainAccess := e.CAFile == "" && e.CertFile == "" && e.Username == ""
	if len(e.Endpoints) == 0 || plainAccess && sameEndpoints(e.Endpoints, s.own.Endpoints()) {
		return s.own, nil
	}
	key := strings.Join(append(slices.Clone(e.Endpoints), e.CAFile, e.CertFile, e.KeyFile, e.Username, e.Password), "\x00")
	s.mu.Lock()
	defer s.mu.Unlock()
	if st := s.other[key]; st != nil {
		return st, nil
	}
	if len(s.other) >= maxStores {
		return nil, fail(attach.CodeConfig, "the network configurations of this host name more than %d ways to etcd; start the agent anew, so that it forgets those of former ones", maxStores)
	}
	st, err := store.New(cfg)
	if err != nil {
		return nil, fail(attach.CodeConfig, "%s", err)
	}
	if s.other == nil {
		s.other = map[string]*store.Store{}
	}
	s.other[key] = st
	return st, nil
}

// getOrOwn is get for what has to be released whatever is wrong with the
// configuration by now.
func (s *stores) getOrOwn(e *attach.Etcd) *store.Store {
	if st, err := s.get(e); err == nil {
		return st
	}
	return s.own
}

func (s *stores) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, st := range s.other {
		st.Close()
	}
}

// sameEndpoints reports whether each of a is one of b, however it is written.
func sameEndpoints(a, b []string) bool {
	return !slices.ContainsFunc(a, func(e string) bool {
		return !slices.ContainsFunc(b, func(o string) bool { return bare(o) == bare(e) })
	})
}

func bare(endpoint string) string {
	_, rest, found := strings.Cut(endpoint, "://")
	if !found {
		rest = endpoint
	}
	return strings.TrimSuffix(rest, "/")
}
