package ctl

import (
	"cmp"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"tuplenet/internal/store"
	"tuplenet/internal/topology"
)

// userName checks what a user is to be called. A colon would begin the password
// where the two are given as one.
func userName(name string) error {
	if err := topology.CheckName(name); err != nil {
		return err
	}
	if strings.Contains(name, ":") {
		return fmt.Errorf(`invalid name %q: ":" is not allowed in the name of a user`, name)
	}
	return nil
}

// parties returns what the flags say that a user is.
func (s *session) parties() ([]store.Party, error) {
	var parties []store.Party
	several := func(duty store.Duty, f Flag) {
		for of := range strings.SplitSeq(s.Flags[f.Name], ",") {
			if of != "" {
				parties = append(parties, store.Party{Duty: duty, Of: of})
			}
		}
	}
	several(store.DutyNode, partyNodeFlag)
	several(store.DutyPlugin, partyPluginFlag)
	several(store.DutyDocker, partyDockerFlag)
	if s.set(partyReaderFlag) {
		parties = append(parties, store.Party{Duty: store.DutyReader})
	}
	if s.set(partyChiefFlag) {
		parties = append(parties, store.Party{Duty: store.DutyOperator})
	}
	for _, p := range parties {
		if err := p.Check(); err != nil {
			return nil, err
		}
	}
	return parties, nil
}

func authAdd(s *session, args []string) error {
	user := args[0]
	parties, err := s.parties()
	if err != nil {
		return err
	}
	like := s.Flags[likeFlag.Name]
	switch {
	case len(parties) == 0 && like == "":
		return fmt.Errorf("tpctl auth add: require --%s, --%s, --%s, --%s, --%s or --%s: who is it?",
			partyNodeFlag.Name, partyPluginFlag.Name, partyDockerFlag.Name, partyReaderFlag.Name, partyChiefFlag.Name, likeFlag.Name)
	case user == store.Root:
		return errors.New("root may do everything already")
	}
	if err := userName(user); err != nil {
		return err
	}
	return s.asRoot(func(s *session, _ bool) error {
		users, _, err := s.users()
		if err != nil {
			return err
		}
		e := enrolment{user: user, parties: parties}
		if like != "" {
			other, err := userNamed(users, like)
			if err != nil {
				return fmt.Errorf("--%s: %w", likeFlag.Name, err)
			}
			e.parties = append(e.parties, other.Parties...)
		}
		if len(e.parties) == 0 {
			return fmt.Errorf("--%s: user %s has none of TupleNet's roles", likeFlag.Name, like)
		}
		_, missing := userNamed(users, user)
		e.exists = missing == nil
		if err := s.checkDirectory(e); err != nil {
			return err
		}
		if err := s.noteUnknown(e.parties); err != nil {
			return err
		}
		file, err := s.enrol(e)
		if err != nil {
			return err
		}
		if users, _, err = s.users(); err != nil {
			return err
		}
		now, err := userNamed(users, user)
		if err != nil {
			return err
		}
		said := fmt.Sprintf("user %s: %s", user, named(now.Parties))
		if file != "" {
			said += "; its password is in " + file
		}
		return s.say("%s", said)
	})
}

// userNamed returns one of the users, or store.ErrNotFound.
func userNamed(users []store.User, name string) (store.User, error) {
	i := slices.IndexFunc(users, func(u store.User) bool { return u.Name == name })
	if i < 0 {
		return store.User{}, fmt.Errorf("user %s %w", name, store.ErrNotFound)
	}
	return users[i], nil
}

// named returns what parties are called.
func named(parties []store.Party) string {
	words := make([]string, len(parties))
	for i, p := range parties {
		words[i] = p.String()
	}
	return strings.Join(words, ", ")
}

// noteUnknown tells of parties whose chassis, switch or router is not there, which may
// be yet to come, or mistyped.
func (s *session) noteUnknown(parties []store.Party) error {
	kinds := map[store.Duty]topology.Kind{store.DutyNode: topology.KindChassis, store.DutyPlugin: topology.KindSwitch, store.DutyDocker: topology.KindRouter}
	return s.bounded(func(s *session) error {
		for _, p := range parties {
			kind, about := kinds[p.Duty]
			if !about {
				continue
			}
			_, err := s.store.Get(s.ctx, topology.Key{Kind: kind, Name: p.Of})
			switch {
			case errors.Is(err, store.ErrNotFound):
				s.note(fmt.Sprintf("there is no %s %s yet", kind, p.Of))
			case err != nil:
				return err
			}
		}
		return nil
	})
}

// enrolment is a user who is to have the roles of parties.
type enrolment struct {
	user    string
	parties []store.Party
	exists  bool // the user does, and so has a password, or none, already
}

// file returns where the user's password goes; nowhere if there is none to tell.
func (s *session) file(e enrolment) string {
	if e.exists || s.set(noPasswordFlag) {
		return ""
	}
	return filepath.Join(s.Flags[directoryFlag.Name], credentialsFile(e.user, e.parties))
}

// checkDirectory refuses to make a user whose password nobody would get to know.
func (s *session) checkDirectory(e enrolment) error {
	switch directory := s.Flags[directoryFlag.Name]; {
	case e.exists, s.set(noPasswordFlag):
		return nil
	case directory != "":
		return checkPlace(directory)
	}
	return fmt.Errorf("require --%s for the password of user %s (or --%s, where certificates speak for users)", directoryFlag.Name, e.user, noPasswordFlag.Name)
}

// enrol makes the roles, the user if there is none, and has them meet, in an order
// in which each step can be done again. It returns the file with the password, if
// it has made one.
func (s *session) enrol(e enrolment) (file string, err error) {
	err = s.bounded(func(s *session) error {
		for _, p := range e.parties {
			if err := s.store.AddParty(s.ctx, p); err != nil {
				return err
			}
		}
		if !e.exists {
			password := ""
			if file = s.file(e); file != "" {
				password = rand.Text()
				if err := s.writeCredentials(file, e.user, password); err != nil {
					return err
				}
			}
			if err := s.store.AddUser(s.ctx, e.user, password); err != nil {
				return err
			}
		}
		for _, p := range e.parties {
			if err := s.store.Grant(s.ctx, e.user, p); err != nil {
				return err
			}
		}
		return nil
	})
	return file, err
}

func authDelete(s *session, args []string) error {
	user := args[0]
	parties, err := s.parties()
	if err != nil {
		return err
	}
	if user == store.Root {
		return errors.New("without root nobody could administer users; \"tpctl auth disable\" lets everybody do everything")
	}
	return s.asRoot(func(s *session, _ bool) error {
		users, _, err := s.users()
		if err != nil {
			return err
		}
		was, err := userNamed(users, user)
		if err != nil {
			return err
		}
		lost := was.Parties
		said := fmt.Sprintf("user %s deleted", user)
		if len(parties) > 0 {
			lost = parties
			left := slices.DeleteFunc(slices.Clone(was.Parties), func(p store.Party) bool { return slices.Contains(parties, p) })
			said = fmt.Sprintf("user %s is not %s any more; it is %s", user, named(parties), cmp.Or(named(left), "nobody"))
		}
		err = s.bounded(func(s *session) error {
			if len(parties) == 0 {
				return s.store.DeleteUser(s.ctx, user)
			}
			for _, p := range parties {
				if err := s.store.Revoke(s.ctx, user, p); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		for _, p := range lost {
			if !slices.ContainsFunc(users, func(u store.User) bool { return u.Name != user && u.Is(p) }) {
				s.note(fmt.Sprintf("nobody is %s any more", p))
			}
		}
		return s.say("%s", said)
	})
}

func authPassword(s *session, args []string) error {
	user := args[0]
	directory := s.Flags[directoryFlag.Name]
	if directory == "" {
		return fmt.Errorf("tpctl auth password: require --%s %s", directoryFlag.Name, directoryFlag.Value)
	}
	if err := checkPlace(directory); err != nil {
		return err
	}
	return s.asRoot(func(s *session, isOn bool) error {
		users, _, err := s.users()
		if err != nil {
			return err
		}
		is, err := userNamed(users, user)
		if err != nil {
			return err
		}
		err = s.bounded(func(s *session) error {
			if !s.store.HasPassword(s.ctx, user) {
				return fmt.Errorf("user %s has no password, only a certificate speaks for it; issue another one with that name", user)
			}
			return nil
		})
		if err != nil {
			return err
		}
		path, password := filepath.Join(directory, credentialsFile(user, is.Parties)), rand.Text()
		// First, so that there is nobody whose password nobody knows; beside the old one, as
		// that counts if etcd does not take the new one.
		fresh := strings.TrimSuffix(path, filepath.Ext(path)) + "-new" + filepath.Ext(path)
		if err := s.writeCredentials(fresh, user, password); err != nil {
			return err
		}
		if err := s.bounded(func(s *session) error { return s.store.SetPassword(s.ctx, user, password) }); err != nil {
			return fmt.Errorf("%w (if it took effect nevertheless, the password is in %s)", err, fresh)
		}
		if err := os.Rename(fresh, path); err != nil {
			return fmt.Errorf("the password of user %s is changed, and is in %s: %w", user, fresh, err)
		}
		if !isOn {
			s.note("etcd does not tell, as long as it does not authenticate, which users have no password; to one of these it has given none")
		}
		if user == store.Root {
			s.note(fmt.Sprintf("root's old password is of no use any more, in whatever file it is; go on with: tpctl --config %s auth ...", path))
		}
		return s.say("user %s has another password, it is in %s", user, path)
	})
}
