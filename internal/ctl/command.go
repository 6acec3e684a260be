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

// timeout bounds the work of one command, from the connection to the answer.
const timeout = 10 * time.Second

// Command is one verb for one kind of object, such as "lsp add".
type Command struct {
	Object    string   // "lsp"
	Verb      string   // "add"
	Alias     string   // "a"; empty if there is none
	Args      []string // names of the arguments in order; those in brackets, which stand last, may be left out
	Usage     string   // one line: what it does
	Notes     string   // what else there is to know; may be empty
	Example   string   // a command line that works
	Recursive bool     // whether it takes -r

	run func(*session, []string) error
}

// Env is what a command works with.
type Env struct {
	Open      func(context.Context) (*store.Store, error)
	In        io.Reader // where a confirmation is read
	Out, Err  io.Writer // results; questions, and values in the store that cannot be used
	JSON      bool      // print objects as JSON, one a line
	Recursive bool      // -r was given
}

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
	if err := c.checkCount(len(args)); err != nil {
		return err
	}
	if env.Recursive {
		if err := confirm(env.In, env.Err, args[0]); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	st, err := env.Open(ctx)
	if err != nil {
		return err
	}
	defer st.Close()
	err = c.run(&session{Env: env, ctx: ctx, store: st}, args)
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("etcd did not answer within %s: %w", timeout, err)
	}
	return err
}

// ReadOnly reports whether the command only shows things, and so needs a store
// that it cannot write to.
func (c Command) ReadOnly() bool { return c.Verb == "show" }

func (c Command) checkCount(n int) error {
	required := 0
	for _, name := range c.Args {
		if !strings.HasPrefix(name, "[") {
			required++
		}
	}
	if n >= required && n <= len(c.Args) {
		return nil
	}
	return fmt.Errorf("tpctl %s %s: require %s, got %d arguments", c.Object, c.Verb, strings.Join(c.Args, " "), n)
}

// optional returns the argument at i, or nothing if it was left out. An empty
// one counts as left out, so that a peer can be given without a MAC.
func optional(args []string, i int) string {
	if i < len(args) {
		return args[i]
	}
	return ""
}
