package ctl

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"tuplenet/internal/store"
	"tuplenet/internal/topology"
)

// operatorUser is the user that setup makes for who changes the network.
const operatorUser = "operator"

// authStep is one thing that setup does.
type authStep struct {
	text string
	do   func(*session) error
}

func authSetup(s *session, _ []string) error {
	return s.asRoot(func(s *session, isOn bool) error {
		if s.Flags[directoryFlag.Name] == "" && !s.set(noPasswordFlag) {
			return fmt.Errorf("tpctl auth setup: require --%s %s for the users' passwords, or --%s where certificates speak for them",
				directoryFlag.Name, directoryFlag.Value, noPasswordFlag.Name)
		}
		if directory := s.Flags[directoryFlag.Name]; directory != "" {
			if err := checkPlace(directory); err != nil {
				return err
			}
		}
		steps, err := s.setupSteps(isOn)
		if err != nil {
			return err
		}
		out := s.Out
		if s.JSON {
			out = s.Err
		}
		for _, step := range steps {
			fmt.Fprintln(out, step.text)
		}
		if len(steps) > 0 && !s.set(yesFlag) {
			if err := confirm(s.In, s.Err, "this is made in etcd, and changes nothing for anybody yet"); err != nil {
				return err
			}
		}
		for i, step := range steps {
			if err := step.do(s); err != nil {
				return fmt.Errorf("step %d of %d failed, those before it are done: %s: %w; the same command goes on from there", i+1, len(steps), step.text, err)
			}
		}
		if len(steps) == 0 {
			return s.say("root, an operator and every chassis have users already")
		}
		if !isOn {
			s.note(s.whatNext()...)
		}
		return s.say("users and roles are set up")
	})
}

// whatNext tells what there is to do between setup and enable.
func (s *session) whatNext() []string {
	next := []string{"etcd lets everybody do everything until \"tpctl auth enable\""}
	if s.set(noPasswordFlag) {
		return append(next, "give every agent a certificate with its chassis' system-id as common name (cert and key in agent.yaml), and the operator one with "+operatorUser+", then restart the agents, which loses no packet")
	}
	dir := s.Flags[directoryFlag.Name]
	return append(next,
		fmt.Sprintf("put the lines of %s into /etc/tuplenet/agent.yaml on each chassis' host, mode 0600, and restart the agent there, which loses no packet", filepath.Join(dir, "agent-USER.yaml")),
		fmt.Sprintf("put %s where you use tpctl as an operator, into /etc/tuplenet/client.yaml", filepath.Join(dir, credentialsFile(operatorUser, nil))))
}

// setupSteps returns what there is to make. Of what is there it tells what it cannot
// know.
func (s *session) setupSteps(isOn bool) ([]authStep, error) {
	users, odd, err := s.users()
	if err != nil {
		return nil, err
	}
	var steps []authStep
	taken := map[string]bool{store.Root: true, operatorUser: true}
	is := map[store.Party]bool{}
	hasRoot := false
	for _, u := range users {
		hasRoot = hasRoot || u.Name == store.Root && u.Root
		taken[u.Name] = taken[u.Name] || u.Root || len(u.Parties)+len(u.Others) > 0
		for _, p := range u.Parties {
			is[p] = true
		}
	}
	if directory := s.Flags[directoryFlag.Name]; directory != "" && s.filesMissing(users, directory) {
		s.note(fmt.Sprintf("passwords of users that are there already are not in %s, and cannot be shown again; \"tpctl auth password USER --directory %[1]s\" gives one whose password is lost another", directory))
	}
	if path := s.Flags[rootFlag.Name]; hasRoot && path != "" && !isOn {
		s.note(fmt.Sprintf("user root is there already and keeps its password; whether %s holds that, etcd tells only when it authenticates (\"tpctl auth enable\" tries, and goes back if it does not)", path))
	}
	if !hasRoot {
		step, err := s.rootStep()
		if err != nil {
			return nil, err
		}
		steps = append(steps, step)
	}
	for _, p := range odd {
		steps = append(steps, authStep{"the role of " + p.String() + ", which has other rights than it should have", func(s *session) error {
			return s.bounded(func(s *session) error { return s.store.AddParty(s.ctx, p) })
		}})
	}
	chief := store.Party{Duty: store.DutyOperator}
	wanted := []enrolment{}
	if !is[chief] {
		wanted = append(wanted, enrolment{user: operatorUser, parties: []store.Party{chief}})
	}
	chassis, err := s.chassisNames()
	if err != nil {
		return nil, err
	}
	for _, name := range chassis {
		node := store.Party{Duty: store.DutyNode, Of: name}
		user := strings.ReplaceAll(name, ":", "_")
		switch {
		case is[node]:
			continue
		case taken[user]:
			s.note(fmt.Sprintf(`chassis %s gets no user, as user %s is somebody else; "tpctl auth add USER --node %[1]s" makes one of another name`, name, user))
			continue
		}
		taken[user] = true
		wanted = append(wanted, enrolment{user: user, parties: []store.Party{node}})
	}
	for _, e := range wanted {
		e.exists = slices.ContainsFunc(users, func(u store.User) bool { return u.Name == e.user })
		steps = append(steps, authStep{s.described(e), func(s *session) error { _, err := s.enrol(e); return err }})
	}
	return steps, nil
}

// filesMissing reports whether a user that setup makes has no file in the directory.
func (s *session) filesMissing(users []store.User, directory string) bool {
	return slices.ContainsFunc(users, func(u store.User) bool {
		if !slices.ContainsFunc(u.Parties, func(p store.Party) bool { return p.Duty == store.DutyNode || p.Duty == store.DutyOperator }) {
			return false
		}
		_, err := os.Stat(filepath.Join(directory, credentialsFile(u.Name, u.Parties)))
		return errors.Is(err, fs.ErrNotExist)
	})
}

// chassisNames returns the chassis that have a record, or are to come.
func (s *session) chassisNames() ([]string, error) {
	var names []string
	for name := range strings.SplitSeq(s.Flags[comingFlag.Name], ",") {
		if name == "" {
			continue
		}
		if err := topology.CheckName(name); err != nil {
			return nil, fmt.Errorf("--%s: %w", comingFlag.Name, err)
		}
		names = append(names, name)
	}
	err := s.bounded(func(s *session) error {
		list, err := s.list(topology.KindChassis, "")
		for _, e := range list {
			names = append(names, e.Key().Name)
		}
		return err
	})
	slices.Sort(names)
	return slices.Compact(names), err
}

// described says what an enrolment makes.
func (s *session) described(e enrolment) string {
	switch file := s.file(e); {
	case e.exists:
		return fmt.Sprintf("user %s (%s), who is there already", e.user, e.parties[0])
	case file != "":
		return fmt.Sprintf("user %s (%s), password in %s", e.user, e.parties[0], file)
	}
	return fmt.Sprintf("user %s (%s), without a password", e.user, e.parties[0])
}

// rootStep makes root, and asks for its password if that is to be made up.
func (s *session) rootStep() (authStep, error) {
	password := ""
	if !s.set(noPasswordFlag) {
		var err error
		if password, err = s.rootPassword("password for etcd's user root, who is to be made: "); err != nil {
			return authStep{}, err
		}
		if s.Flags[rootFlag.Name] == "" {
			again, err := s.askPassword("once more: ")
			if err != nil {
				return authStep{}, err
			}
			if again != password {
				return authStep{}, errors.New("the two passwords are not the same")
			}
		}
	}
	return authStep{"user root, who administers users", func(s *session) error {
		return s.bounded(func(s *session) error { _, err := s.store.AddRoot(s.ctx, password); return err })
	}}, nil
}
