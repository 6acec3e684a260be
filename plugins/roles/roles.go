// Package roles says what plugins lack where etcd authenticates: an error that
// etcd denies a write becomes one that names the role missing, and what gives it.
// Which role allows what, package store knows.
//
// The plugins' packages use it, for themselves and for the agent of their host.
package roles

import (
	"cmp"
	"errors"
	"fmt"

	"tuplenet/internal/store"
)

// Missing adds to an error of st that etcd denies a write (store.ErrDenied) which
// role the user that st asks as lacks: that of a party. Of Docker's, Of may be
// empty: that for any router would do. Other errors, and those that say so already,
// stay as they are.
func Missing(err error, st *store.Store, p store.Party) error {
	if said := (*missing)(nil); !errors.Is(err, store.ErrDenied) || errors.As(err, &said) {
		return err
	}
	return &missing{err, st.User(), p}
}

type missing struct {
	denial error
	user   string
	party  store.Party
}

func (m *missing) Error() string {
	user, of := cmp.Or(m.user, "USER"), m.party.Of
	role := "a plugin for switch " + of
	switch {
	case m.party.Duty == store.DutyDocker && of != "":
		role = "Docker's plugin for router " + of
	case m.party.Duty == store.DutyDocker:
		role, of = "Docker's plugin for any router", "ROUTER"
	}
	return fmt.Sprintf("%s; user %s lacks the role of %s: tpctl auth add %s --%s %s", m.denial, user, role, user, m.party.Duty, of)
}

func (m *missing) Unwrap() error { return m.denial }
