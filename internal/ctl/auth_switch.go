package ctl

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"

	"tuplenet/internal/store"
)

// spareRoot is a user that is root for as long as enable takes. Whether root can log
// in is not known before etcd authenticates, and then it is too late for anybody
// else.
const spareRoot = "tpctl-auth-enable"

func authEnable(s *session, _ []string) error {
	return s.asRoot(func(s *session, isOn bool) error {
		var agents []string
		if !isOn {
			var err error
			if agents, err = s.readyToEnable(); err != nil {
				return err
			}
			root, done, err := s.enable()
			if err != nil {
				return err
			}
			defer done()
			s = root
		}
		if err := s.dropSpareRoot(); err != nil { // also one of an enable that was killed
			return fmt.Errorf("authentication is on, but user %s is left, who is root: %w; run it again", spareRoot, err)
		}
		moved, err := s.store.OwnBindings(s.ctx)
		if err != nil {
			return fmt.Errorf("authentication is on, but agents cannot take over all that they have bound: %w; run it again", err)
		}
		if moved > 0 {
			s.note(fmt.Sprintf("the bindings of %s belong to the chassis now that they are plugged in at", plural(moved, "port")))
		}
		if err := s.stillAnswer(agents); err != nil {
			return err
		}
		return s.say("authentication is on")
	})
}

// readyToEnable refuses what would lock somebody out. It returns the chassis whose
// agents have their users.
func (s *session) readyToEnable() (agents []string, err error) {
	users, odd, err := s.users()
	if err != nil {
		return nil, err
	}
	if !slices.ContainsFunc(users, func(u store.User) bool { return u.Name == store.Root && u.Root }) {
		return nil, errors.New(`etcd has no user root, without whom nobody could administer users; "tpctl auth setup" makes it`)
	}
	if len(odd) > 0 {
		return nil, fmt.Errorf(`the role of %s has other rights than it should have; "tpctl auth setup" mends that`, odd[0])
	}
	if s.set(blindFlag) {
		return nil, nil
	}
	return s.nobodyCutOff(users)
}

// enable makes etcd authenticate, and sees to it that root can log in then: if not,
// it makes etcd as it was. It returns root's session.
func (s *session) enable() (root *session, done func(), err error) {
	password := ""
	if s.Flags[rootFlag.Name] != "" || s.store.User() != store.Root {
		if password, err = s.rootPassword("password of etcd's user root: "); err != nil {
			return nil, nil, err
		}
	}
	spare := rand.Text()
	if err := s.dropSpareRoot(); err != nil { // of one that was killed
		return nil, nil, err
	}
	err = s.bounded(func(s *session) error {
		if err := s.store.AddUser(s.ctx, spareRoot, spare); err != nil {
			return err
		}
		return s.store.GrantRoot(s.ctx, spareRoot)
	})
	if err != nil {
		return nil, nil, err
	}
	// Whatever ends this command, etcd is not to be left in between.
	held := *s
	held.ctx = context.WithoutCancel(s.ctx)
	s = &held
	if err := s.bounded(func(s *session) error { return s.store.EnableAuth(s.ctx) }); err != nil {
		return nil, nil, errors.Join(err, s.dropSpareRoot())
	}
	if root, done, err = s.loggedIn(password); err == nil {
		return root, done, nil
	}
	if undone := s.undo(spare); undone != nil {
		return nil, nil, fmt.Errorf("authentication is on, root cannot log in (%w), and this could not be undone: %w", err, undone)
	}
	return nil, nil, fmt.Errorf("root cannot log in, so authentication is off again: %w", err)
}

// dropSpareRoot deletes spareRoot, if there is one.
func (s *session) dropSpareRoot() error {
	return s.bounded(func(s *session) error {
		if err := s.store.DeleteUser(s.ctx, spareRoot); !errors.Is(err, store.ErrNotFound) {
			return err
		}
		return nil
	})
}

// loggedIn returns root's session, by a password or by what the settings say.
func (s *session) loggedIn(password string) (root *session, done func(), err error) {
	if password != "" {
		return s.as(store.Root, password)
	}
	err = s.bounded(func(s *session) error {
		may, err := s.store.Administers(s.ctx)
		if err == nil && !may {
			err = errors.New("etcd does not take the certificate for root's; does it verify those of clients?")
		}
		return err
	})
	return s, func() {}, err
}

// undo makes etcd not authenticate, as spareRoot.
func (s *session) undo(password string) error {
	spare, done, err := s.as(spareRoot, password)
	if err != nil {
		return err
	}
	defer done()
	return spare.bounded(func(b *session) error {
		if err := b.store.DisableAuth(b.ctx); err != nil {
			return err
		}
		return s.store.DeleteUser(b.ctx, spareRoot)
	})
}

func authDisable(s *session, _ []string) error {
	return s.asRoot(func(s *session, isOn bool) error {
		if isOn {
			if err := s.bounded(func(s *session) error { return s.store.DisableAuth(s.ctx) }); err != nil {
				return err
			}
		}
		if _, err := s.store.JoinBindings(s.ctx); err != nil {
			return fmt.Errorf("authentication is off, but ports are not as agents would have bound them: %w; run it again", err)
		}
		return s.say("authentication is off: who reaches etcd may do everything")
	})
}
