package ctl

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"strings"
	"time"

	"tuplenet/internal/explain"
	"tuplenet/internal/store"
)

// ErrTold says that something is wrong and that the command has printed what.
var ErrTold = errors.New("what is wrong has been told")

// timeout bounds the work of one command, or of one step of a command that
// has several.
const timeout = 10 * time.Second

// Command is one verb for one kind of object, such as "lsp add", or a command
// that needs no verb, such as "status".
type Command struct {
	Object  string   // "lsp"
	Verb    string   // "add"; may be empty
	Alias   string   // "a"; empty if there is none
	Args    []string // names of the arguments in order; those in brackets, which stand last, may be left out, and one that ends in "..." may be given several times
	Flags   []Flag
	Usage   string // one line: what it does
	Notes   string // what else there is to know; may be empty
	Example string // a command line that works
	Host    bool   // whether it looks at this host's Open vSwitch, and takes the flags that say where that is

	steps bool // whether it takes several steps, each with a timeout of its own
	reads bool // whether it only shows things; with the verb show it does
	finds bool // whether it finds out itself what is wrong with etcd, and is to be given a store that was not asked anything yet
	run   func(*session, []string) error

	fields []string // of the objects that it lists, name included, as --filter knows them; run heeds session.chosen

	// In place of run, a command that prints nothing but a list has these.
	list  func(*session, []string) ([]object, error) // what there is to show, sorted by name
	plain func(*session, []object) error             // prints them for people; nil: as objects are printed
}

// Flag is an option of a command.
type Flag struct {
	Name     string
	Aliases  []string
	Value    string // the name of its value, in capitals; empty for a flag that is set or not
	Default  string
	Required bool
	Many     bool   // whether it may be given several times; its value is then all of them, separated by commas
	Usage    string // one line, in which the name of the value stands in backquotes
}

// Flags that several commands take.
var (
	recursiveFlag = Flag{Name: "recursive", Aliases: []string{"r"}, Usage: "delete what hangs on it too"}
	forceFlag     = Flag{Name: "force", Usage: "do it although the chassis has no record yet"}
	securityFlag  = Flag{Name: "port-security", Usage: "let only packets with a port's own MAC and address come from it"}
)

// Env is what a command works with.
type Env struct {
	Open     func(context.Context) (*store.Store, error)         // bounds its own time
	Etcd     func() (store.Config, error)                        // where etcd is, and who asks
	Bridge   func(context.Context, bool) (explain.Bridge, error) // this host's flows, and what they are for; all as ovs-ofctl writes them if so wished
	In       io.Reader                                           // where a confirmation is read
	Out, Err io.Writer                                           // results; questions, and what is worth knowing beside them
	JSON     bool                                                // print objects as JSON, one a line
	Flags    map[string]string                                   // values by name, defaults included; "true" for a flag that is set
}

// reach is Open without asking etcd anything.
func (e Env) reach() (*store.Store, error) {
	cfg, err := e.Etcd()
	if err != nil {
		return nil, err
	}
	return store.New(cfg)
}

func (e Env) set(f Flag) bool { return e.Flags[f.Name] != "" }

// session is one run of a command.
type session struct {
	Env
	ctx   context.Context
	store *store.Store
	read  reader // of lists: store, or what a watch has told of it

	chosen choice // by the flags of a list
}

// Run carries out the command. The order of its checks is that of the
// original: number of arguments, confirmation, connection, then what the
// arguments say.
func (c Command) Run(ctx context.Context, env Env, args []string) error {
	if err := c.check(args, env.Flags); err != nil {
		return err
	}
	chosen, err := c.choice(env)
	if err != nil {
		return err
	}
	if env.set(recursiveFlag) {
		what, err := c.question(ctx, env, args[0])
		if err != nil {
			return err
		}
		if err := confirm(env.In, env.Err, what); err != nil {
			return err
		}
	}
	open := env.Open
	if c.finds {
		open = func(context.Context) (*store.Store, error) { return env.reach() }
	}
	st, err := open(ctx)
	if err != nil {
		return err
	}
	defer st.Close()
	s := &session{Env: env, ctx: ctx, store: st, read: st, chosen: chosen}
	return denied(st, c.carryOut(s, args))
}

// carryOut is what Run does with the store.
func (c Command) carryOut(s *session, args []string) error {
	switch {
	case c.list != nil && s.set(watchFlag):
		return c.watch(s, args)
	case c.list != nil:
		return s.bounded(func(s *session) error { return c.show(s, args) })
	case c.steps:
		return c.run(s, args)
	}
	return s.bounded(func(s *session) error { return c.run(s, args) })
}

// show prints what was chosen of the command's list.
func (c Command) show(s *session, args []string) error {
	list, err := c.list(s, args)
	if len(list) == 0 && (err == nil || errors.Is(err, store.ErrNotFound)) {
		s.nothingThere()
	}
	if err != nil {
		return err
	}
	return c.print(s, s.chosen.of(list))
}

func (c Command) print(s *session, list []object) error {
	if c.plain != nil && !s.JSON {
		return c.plain(s, list)
	}
	return s.showObjects(list)
}

// bounded does work that is given up after the timeout.
func (s *session) bounded(work func(*session) error) error {
	ctx, cancel := context.WithTimeout(s.ctx, timeout)
	defer cancel()
	within := *s
	within.ctx = ctx
	err := work(&within)
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("etcd did not answer within %s: %w", timeout, err)
	}
	return err
}

// ReadOnly reports whether the command only shows things, and so needs a store
// that it cannot write to.
func (c Command) ReadOnly() bool { return c.reads || c.Verb == "show" }

// Name returns the words that the command is called by, "lsp add".
func (c Command) Name() string { return strings.TrimSpace(c.Object + " " + c.Verb) }

// check says what is missing, or too much, on the command line.
func (c Command) check(args []string, flags map[string]string) error {
	n, required := len(args), 0
	for _, name := range c.Args {
		if !strings.HasPrefix(name, "[") {
			required++
		}
	}
	most := len(c.Args)
	if most > 0 && strings.HasSuffix(c.Args[most-1], "...]") {
		most = math.MaxInt
	}
	if c.list != nil && flags[allFlag.Name] != "" {
		required, most = 0, 0
	}
	if n < required || n > most {
		want := "no arguments"
		if most > 0 {
			want = strings.Join(c.Args, " ")
		}
		return fmt.Errorf("tpctl %s: require %s, got %d arguments%s", c.Name(), want, n, c.meant(args))
	}
	for _, f := range c.Flags {
		if f.Required && flags[f.Name] == "" {
			return fmt.Errorf("tpctl %s: require --%s %s", c.Name(), f.Name, f.Value)
		}
	}
	return nil
}

// meant ends the sentence about an argument of a command that has none, where
// that may be what a flag is to name.
func (c Command) meant(args []string) string {
	for _, f := range c.Flags {
		if len(c.Args) == 0 && f.Required && f.Many && len(f.Aliases) > 0 {
			return fmt.Sprintf("; did you mean -%s %s?", f.Aliases[0], args[0])
		}
	}
	return ""
}

// optional returns the argument at i, or nothing if it was left out. An empty
// one counts as left out, so that a peer can be given without a MAC.
func optional(args []string, i int) string {
	if i < len(args) {
		return args[i]
	}
	return ""
}
