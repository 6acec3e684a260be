package ctl

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"tuplenet/internal/store"
)

// timeout bounds the work of one command, or of one step of a command that
// has several.
const timeout = 10 * time.Second

// Command is one verb for one kind of object, such as "lsp add", or a command
// that needs no verb, such as "status".
type Command struct {
	Object  string   // "lsp"
	Verb    string   // "add"; may be empty
	Alias   string   // "a"; empty if there is none
	Args    []string // names of the arguments in order; those in brackets, which stand last, may be left out
	Flags   []Flag
	Usage   string // one line: what it does
	Notes   string // what else there is to know; may be empty
	Example string // a command line that works

	steps bool // whether it takes several steps, each with a timeout of its own
	reads bool // whether it only shows things; with the verb show it does
	run   func(*session, []string) error
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
)

// Env is what a command works with.
type Env struct {
	Open     func(context.Context) (*store.Store, error) // bounds its own time
	In       io.Reader                                   // where a confirmation is read
	Out, Err io.Writer                                   // results; questions, and what is worth knowing beside them
	JSON     bool                                        // print objects as JSON, one a line
	Flags    map[string]string                           // values by name, defaults included; "true" for a flag that is set
}

func (e Env) set(f Flag) bool { return e.Flags[f.Name] != "" }

// session is one run of a command.
type session struct {
	Env
	ctx   context.Context
	store *store.Store
}

// Run carries out the command. The order of its checks is that of the
// original: number of arguments, confirmation, connection, then what the
// arguments say.
func (c Command) Run(ctx context.Context, env Env, args []string) error {
	if err := c.check(len(args), env.Flags); err != nil {
		return err
	}
	if env.set(recursiveFlag) {
		if err := confirm(env.In, env.Err, args[0]+" and all data under it will be deleted"); err != nil {
			return err
		}
	}
	st, err := env.Open(ctx)
	if err != nil {
		return err
	}
	defer st.Close()
	s := &session{Env: env, ctx: ctx, store: st}
	if c.steps {
		return c.run(s, args)
	}
	return s.bounded(func(s *session) error { return c.run(s, args) })
}

// bounded does work that is given up after the timeout.
func (s *session) bounded(work func(*session) error) error {
	ctx, cancel := context.WithTimeout(s.ctx, timeout)
	defer cancel()
	err := work(&session{Env: s.Env, ctx: ctx, store: s.store})
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
func (c Command) check(n int, flags map[string]string) error {
	required := 0
	for _, name := range c.Args {
		if !strings.HasPrefix(name, "[") {
			required++
		}
	}
	if n < required || n > len(c.Args) {
		want := "no arguments"
		if len(c.Args) > 0 {
			want = strings.Join(c.Args, " ")
		}
		return fmt.Errorf("tpctl %s: require %s, got %d arguments", c.Name(), want, n)
	}
	for _, f := range c.Flags {
		if f.Required && flags[f.Name] == "" {
			return fmt.Errorf("tpctl %s: require --%s %s", c.Name(), f.Name, f.Value)
		}
	}
	return nil
}

// optional returns the argument at i, or nothing if it was left out. An empty
// one counts as left out, so that a peer can be given without a MAC.
func optional(args []string, i int) string {
	if i < len(args) {
		return args[i]
	}
	return ""
}
