package ctl

import (
	"crypto/rand"
	"encoding/json"
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
	if len(parties) == 0 {
		return nil, fmt.Errorf("tpctl auth add: require --%s, --%s, --%s, --%s or --%s: who is it?",
			partyNodeFlag.Name, partyPluginFlag.Name, partyDockerFlag.Name, partyReaderFlag.Name, partyChiefFlag.Name)
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
	if user == store.Root {
		return errors.New("root may do everything already")
	}
	if err := userName(user); err != nil {
		return err
	}
	return s.asRoot(func(s *session, _ bool) error {
		e := enrolment{user: user, parties: parties}
		users, _, err := s.users()
		if err != nil {
			return err
		}
		e.exists = slices.ContainsFunc(users, func(u store.User) bool { return u.Name == user })
		if err := s.checkDirectory(e); err != nil {
			return err
		}
		file, err := s.enrol(e)
		if err != nil {
			return err
		}
		words := make([]string, len(parties))
		for i, p := range parties {
			words[i] = p.String()
		}
		said := fmt.Sprintf("user %s: %s", user, strings.Join(words, ", "))
		if file != "" {
			said += "; its password is in " + file
		}
		return s.say("%s", said)
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
	if e.exists || s.set(noPasswordFlag) || s.Flags[directoryFlag.Name] != "" {
		return nil
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
				if err := writeCredentials(file, e.user, password); err != nil {
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

// credentialsFile names the file for a user's password, by whom it is for.
func credentialsFile(user string, parties []store.Party) string {
	has := func(duty store.Duty) bool {
		return slices.ContainsFunc(parties, func(p store.Party) bool { return p.Duty == duty })
	}
	switch {
	case has(store.DutyNode):
		return "agent-" + user + ".yaml"
	case has(store.DutyDocker):
		return "cnm-" + user + ".json"
	case has(store.DutyPlugin):
		return "cni-" + user + ".json"
	}
	return "client-" + user + ".yaml"
}

// writeCredentials writes a file with a user's name and password, as those read it
// whom it is for.
func writeCredentials(path, user, password string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("the directory of passwords: %w", err)
	}
	var text []byte
	if filepath.Ext(path) == ".json" {
		var err error
		if text, err = json.MarshalIndent(map[string]string{"etcd_user": user + ":" + password}, "", "  "); err != nil {
			return fmt.Errorf("write %s: %w", path, err)
		}
		text = append(text, '\n')
	} else {
		// A string of JSON is one of YAML.
		name, err := json.Marshal(user)
		if err != nil {
			return fmt.Errorf("write %s: %w", path, err)
		}
		text = fmt.Appendf(nil, "user: %s\npassword: %s\n", name, password)
	}
	// A new file, as an old one may be open, or readable, to others.
	draft := path + ".new"
	if err := errors.Join(os.RemoveAll(draft), os.WriteFile(draft, text, 0o600), os.Rename(draft, path)); err != nil {
		return fmt.Errorf("write the password of user %s: %w", user, err)
	}
	return nil
}

func authDelete(s *session, args []string) error {
	user := args[0]
	return s.asRoot(func(s *session, isOn bool) error {
		if user == store.Root {
			return errors.New("without root nobody could administer users; \"tpctl auth disable\" lets everybody do everything")
		}
		err := s.bounded(func(s *session) error { return s.store.DeleteUser(s.ctx, user) })
		if err != nil {
			return err
		}
		return s.say("user %s deleted", user)
	})
}

func authPassword(s *session, args []string) error {
	user := args[0]
	if s.Flags[directoryFlag.Name] == "" {
		return fmt.Errorf("tpctl auth password: require --%s %s", directoryFlag.Name, directoryFlag.Value)
	}
	return s.asRoot(func(s *session, _ bool) error {
		users, _, err := s.users()
		if err != nil {
			return err
		}
		i := slices.IndexFunc(users, func(u store.User) bool { return u.Name == user })
		if i < 0 {
			return fmt.Errorf("user %s %w", user, store.ErrNotFound)
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
		path, password := filepath.Join(s.Flags[directoryFlag.Name], credentialsFile(user, users[i].Parties)), rand.Text()
		// First, so that there is nobody whose password nobody knows; beside the old one, as
		// that counts if etcd does not take the new one.
		fresh := strings.TrimSuffix(path, filepath.Ext(path)) + "-new" + filepath.Ext(path)
		if err := writeCredentials(fresh, user, password); err != nil {
			return err
		}
		if err := s.bounded(func(s *session) error { return s.store.SetPassword(s.ctx, user, password) }); err != nil {
			return fmt.Errorf("%w (if it took effect nevertheless, the password is in %s)", err, fresh)
		}
		if err := os.Rename(fresh, path); err != nil {
			return fmt.Errorf("the password of user %s is changed, and is in %s: %w", user, fresh, err)
		}
		return s.say("user %s has another password, it is in %s", user, path)
	})
}
