package host

import (
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"cni.tuplenet/attach"

	"tuplenet/internal/store"
	"tuplenet/plugins/roles"
)

// Where etcd authenticates, the agent's user writes ports of those switches alone
// that it has a role for. What it is denied stays so until somebody gives it the
// role: that is said once, and tried again now and then.

// deniedPause is how long what etcd has denied is left alone.
const deniedPause = time.Minute

// explained names in an error of st that etcd denies a write to an owner's port, or
// to one that it is to have, the role that is missing.
func explained(err error, st *store.Store, owner, sw string) error {
	role := store.Party{Duty: store.DutyPlugin, Of: sw}
	if plugin, _, ok := attach.ParseOwner(owner); ok && plugin == attach.CNM && isDockers(sw) {
		role = store.Party{Duty: store.DutyDocker}
	}
	return roles.Missing(err, st, role)
}

// isDockers reports whether a switch may be one that was made for a network of Docker,
// by the network's id, and so whether Docker's role is enough for its ports.
func isDockers(sw string) bool {
	return sw != "" && (sw[0] >= '0' && sw[0] <= '9' || sw[0] >= 'a' && sw[0] <= 'z')
}

// denials are the owners whose ports etcd has not let this host take back, and until
// when they are left alone.
type denials struct {
	mu    sync.Mutex
	until map[string]time.Time
}

// note takes note of how taking an owner's ports back has ended, and reports whether
// it was denied, and was denied before.
func (d *denials) note(owner string, err error) (denied, again bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	denied = errors.Is(err, store.ErrDenied)
	_, again = d.until[owner]
	switch {
	case err == nil:
		delete(d.until, owner)
	case denied:
		if d.until == nil {
			d.until = map[string]time.Time{}
		}
		d.until[owner] = time.Now().Add(deniedPause)
	}
	return denied, denied && again
}

// of reports whether taking an owner's ports back was denied before, and whether
// they are left alone for now.
func (d *denials) of(owner string) (before, rests bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	until, before := d.until[owner]
	return before, time.Now().Before(until)
}

// among forgets all owners but these.
func (d *denials) among(owners []string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for owner := range d.until {
		if !slices.Contains(owners, owner) {
			delete(d.until, owner)
		}
	}
}

// quieter is the level of what has been said before.
func quieter(level slog.Level, before bool) slog.Level {
	if before {
		return slog.LevelDebug
	}
	return level
}
