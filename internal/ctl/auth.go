package ctl

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"

	"tuplenet/internal/store"
)

// Flags of the commands about etcd's users.
var (
	rootFlag       = Flag{Name: "root-password-file", Value: "FILE", Usage: "`FILE` with root's password; without it, what the settings say of etcd's user has to be root's, or the terminal is asked"}
	directoryFlag  = Flag{Name: "directory", Value: "DIRECTORY", Usage: "`DIRECTORY` that files with users and passwords are written to, for those alone to read who run this; made when missing"}
	noPasswordFlag = Flag{Name: "no-password", Usage: "make users without passwords, for whom a certificate speaks with the user's name as its common name"}
	comingFlag     = Flag{Name: "node", Value: "ID", Many: true, Usage: "make a user for chassis `ID`, too, which is yet to come; may be given several times"}
	blindFlag      = Flag{Name: "force", Usage: "do it although agents have no user, or do not say so, and will be cut off"}

	partyNodeFlag   = Flag{Name: "node", Value: "ID", Usage: "it is the agent of chassis `ID`"}
	partyPluginFlag = Flag{Name: "plugin", Value: "SWITCH", Many: true, Usage: "it attaches containers to `SWITCH`; several with commas between"}
	partyDockerFlag = Flag{Name: "docker", Value: "ROUTER", Many: true, Usage: "it is tpcnm, whose networks are linked to `ROUTER`; several with commas between"}
	likeFlag        = Flag{Name: "like", Value: "OTHER", Usage: "it is all that user `OTHER` is"}
	partyReaderFlag = Flag{Name: "reader", Usage: "it looks at things"}
	partyChiefFlag  = Flag{Name: "operator", Usage: "it changes the network"}
)

func authCommands() []Command {
	return []Command{
		{
			Object: "auth", Verb: "setup", Flags: []Flag{rootFlag, directoryFlag, noPasswordFlag, comingFlag, yesFlag}, steps: true, finds: true,
			Usage: "make etcd's users and roles: of an operator, and of every chassis",
			Notes: "Shows what it is about to make, asks, and makes what is missing: root, the roles, the user \"operator\", and for every chassis that has a record a user of that name, who may write about this chassis alone. " +
				"Their passwords are random and go into files, agent-USER.yaml for a chassis' agent.yaml and client-USER.yaml for tpctl's client.yaml. " +
				"It changes nothing for anybody until \"tpctl auth enable\". After a failure the same command goes on. docs/security.md goes through it step by step.",
			Example: "tpctl auth setup --root-password-file root.txt --directory keys",
			run:     authSetup,
		},
		{
			Object: "auth", Verb: "add", Alias: "a", Args: []string{"USER"}, steps: true, finds: true,
			Flags: []Flag{partyNodeFlag, partyPluginFlag, partyDockerFlag, partyReaderFlag, partyChiefFlag, likeFlag, directoryFlag, noPasswordFlag, rootFlag},
			Usage: "make a user of etcd, or let one do more",
			Notes: "A node's agent writes what there is about its chassis, the bindings of what is plugged in there, and its answers. A plugin writes the ports of a switch and their addresses. A plugin for Docker writes its networks, with their switches, and their links to a router. " +
				"A reader writes nothing, an operator everything. All read everything. A chassis that runs containers by tpcni needs --plugin, too, or --docker.",
			Example: "tpctl auth add hv9 --node hv9 --directory keys",
			run:     authAdd,
		},
		{
			Object: "auth", Verb: "del", Alias: "d", Args: []string{"USER"}, steps: true, finds: true,
			Flags:   []Flag{partyNodeFlag, partyPluginFlag, partyDockerFlag, partyReaderFlag, partyChiefFlag, rootFlag},
			Usage:   "delete a user of etcd, at once: who has the key may not do anything any more",
			Notes:   "The user's roles go with it, unless others have them. With --node, --plugin, --docker, --reader or --operator the user stays, and is that no more.",
			Example: "tpctl auth del hv9",
			run:     authDelete,
		},
		{
			Object: "auth", Verb: "password", Args: []string{"USER"}, Flags: []Flag{directoryFlag, rootFlag}, steps: true, finds: true,
			Usage: "give a user of etcd another password",
			Notes: "It is random and goes into a file. The old one ends at once: an agent that has it goes on forwarding, but can tell nobody of changes until it is started anew with the new one. " +
				"To change it without a gap, make a second user for the same chassis, and delete the first when the agent has it.",
			Example: "tpctl auth password hv1 --directory keys",
			run:     authPassword,
		},
		{
			Object: "auth", Verb: "show", Alias: "s", Flags: []Flag{rootFlag}, steps: true, finds: true,
			Usage:   "show whether etcd authenticates, its users, and what each may write",
			Notes:   "Below it tells of chassis without a user, and of roles that are not as \"tpctl auth setup\" makes them.",
			Example: "tpctl auth show --root-password-file root.txt",
			run:     authShow,
		},
		{
			Object: "auth", Verb: "enable", Flags: []Flag{rootFlag, blindFlag}, steps: true, finds: true,
			Usage: "make etcd refuse who is no user, and what its users may not do",
			Notes: "It asks the agents that are alive who they are, and refuses while one has no user of its own; it makes sure that root can log in before it leaves etcd so, and that the agents still answer. Whether their passwords are right etcd tells only then. What agents have written into ports, where these are plugged in, becomes theirs. " +
				"It interrupts no packet, and no agent that has its user. \"tpctl auth disable\" is the way back.",
			Example: "tpctl auth enable --root-password-file root.txt",
			run:     authEnable,
		},
		{
			Object: "auth", Verb: "disable", Flags: []Flag{rootFlag}, steps: true, finds: true,
			Usage:   "let everybody do everything in etcd who reaches it",
			Notes:   "Users and roles stay. It interrupts no packet and no agent.",
			Example: "tpctl auth disable --root-password-file root.txt",
			run:     authDisable,
		},
	}
}

// asRoot has work done by a session that may administer users: as it is, while etcd
// does not authenticate or if the settings are root's, else as root.
func (s *session) asRoot(work func(s *session, isOn bool) error) error {
	var isOn, may bool
	err := s.bounded(func(s *session) (err error) {
		if isOn, err = s.store.Authenticates(s.ctx); err == nil && isOn && s.Flags[rootFlag.Name] == "" {
			may, err = s.store.Administers(s.ctx)
		}
		return err
	})
	switch {
	case err != nil:
		return err
	case !isOn || may:
		return work(s, isOn)
	}
	password, err := s.rootPassword("password of etcd's user root: ")
	if err != nil {
		return err
	}
	root, done, err := s.as(store.Root, password)
	if err != nil {
		return err
	}
	defer done()
	return work(root, isOn)
}

// as returns the session of a user who may administer users.
func (s *session) as(user, password string) (*session, func(), error) {
	cfg, err := s.Etcd()
	if err != nil {
		return nil, nil, err
	}
	cfg.Username, cfg.Password = user, password
	st, err := store.New(cfg)
	if err != nil {
		return nil, nil, err
	}
	other := *s
	other.store, other.read = st, st
	may := false
	err = s.bounded(func(b *session) (err error) {
		may, err = st.Administers(b.ctx)
		return err
	})
	if err == nil && !may {
		err = fmt.Errorf("user %s may not administer the users of etcd, only %s may", user, store.Root)
	}
	if err != nil {
		st.Close()
		return nil, nil, err
	}
	return &other, func() { st.Close() }, nil
}

// rootPassword returns root's password, of the file that the flag names, or as it is
// typed.
func (s *session) rootPassword(question string) (string, error) {
	path := s.Flags[rootFlag.Name]
	if path == "" {
		return s.askPassword(question)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("--%s: %w", rootFlag.Name, err)
	}
	password, _, _ := strings.Cut(string(text), "\n")
	if password = strings.TrimSuffix(password, "\r"); password == "" {
		return "", fmt.Errorf("--%s: %s holds no password in its first line", rootFlag.Name, path)
	}
	return password, nil
}

// askPassword asks a person for a password, without showing it.
func (s *session) askPassword(question string) (string, error) {
	in, ok := s.In.(*os.File)
	if !ok || !isTerminal(s.In) {
		return "", fmt.Errorf("it takes etcd's user root, and nobody is there to ask for its password; give it with --%s FILE, or show root's certificate", rootFlag.Name)
	}
	fmt.Fprint(s.Err, question)
	password, err := term.ReadPassword(int(in.Fd()))
	fmt.Fprintln(s.Err)
	if err != nil && !errors.Is(err, io.EOF) {
		return "", fmt.Errorf("read a password from the terminal: %w", err)
	}
	if len(password) == 0 {
		return "", errors.New("operation canceled")
	}
	return string(password), nil
}

// denied adds to an error of what etcd refuses who was refused, and who may.
func denied(st *store.Store, err error) error {
	if !errors.Is(err, store.ErrDenied) {
		return err
	}
	return fmt.Errorf(`%w; %s may not do that, an operator may ("tpctl auth add USER --operator" makes one)`, err, st.Who())
}

// users returns etcd's users, and parties whose roles are odd.
func (s *session) users() (users []store.User, odd []store.Party, err error) {
	ctx, cancel := context.WithTimeout(s.ctx, usersTimeout)
	defer cancel()
	return s.store.Users(ctx)
}

// usersTimeout is for a few requests a user, each of which goes through etcd's log.
const usersTimeout = 3 * timeout
