package ctl

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/term"

	"tuplenet/internal/store"
	"tuplenet/internal/topology"
)

var watchFlag = Flag{Name: "watch", Aliases: []string{"w"}, Usage: "print the list, and then what changes in it, until interrupted"}

// reader is where lists come from: the store, or what a watch has told of it.
type reader interface {
	Get(context.Context, topology.Key) (topology.Stored, error)
	List(ctx context.Context, kind topology.Kind, parent string) ([]topology.Stored, []store.Bad, error)
	Networks(context.Context) ([]store.Network, error)
}

// pollPause is how long is waited between two looks at what nobody tells the
// changes of.
const pollPause = 2 * time.Second

// watch prints a command's list, then what changes in it, until the session's
// context ends.
func (c Command) watch(s *session, args []string) error {
	v := &viewer{command: c, screen: s.hasScreen()}
	if c.Host { // nobody tells of changes
		return s.poll(func(s *session) (time.Duration, error) {
			return pollPause, s.bounded(func(s *session) error {
				list, err := c.list(s, args)
				if err != nil {
					return err
				}
				return v.show(s, list)
			})
		})
	}
	// What is wrong with the command is told before there is anything to watch.
	if err := s.bounded(func(s *session) error { _, err := c.list(s, args); return err }); err != nil {
		return err
	}
	m := &mirror{entities: map[topology.Key]topology.Stored{}, bad: map[topology.Key]error{}, store: s.store}
	watched := *s
	watched.read = m
	for u := range s.store.Watch(s.ctx) {
		m.apply(u)
		err := watched.draw(func(s *session) error {
			list, err := c.list(s, args)
			if err != nil && !errors.Is(err, store.ErrNotFound) { // it may come back
				return err
			}
			return v.show(s, list)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// poll looks at something again and again, until the session's context ends; a
// look says how long to wait for the next. What fails later than the first time
// is told, and may come back.
func (s *session) poll(look func(*session) (time.Duration, error)) error {
	told := "" // in the look before
	for first := true; ; first = false {
		var pause time.Duration
		var notes bytes.Buffer
		looking := *s
		looking.Err = &notes
		err := looking.draw(func(s *session) (err error) {
			pause, err = look(s)
			if err != nil && !first && s.ctx.Err() == nil {
				s.note(err.Error())
				err = nil
			}
			return err
		})
		if s.ctx.Err() != nil {
			return nil
		}
		if text := notes.String(); text != told {
			told = text
			fmt.Fprint(s.Err, text)
		}
		if err != nil {
			return err
		}
		select {
		case <-s.ctx.Done():
			return nil
		case <-time.After(cmp.Or(pause, pollPause)):
		}
	}
}

// viewer shows a list that changes.
type viewer struct {
	command Command
	screen  bool // it is printed anew each time; else what changes is
	before  map[string]object
}

func (v *viewer) show(s *session, list []object) error {
	list = s.chosen.of(list)
	now := make(map[string]object, len(list))
	for _, o := range list {
		now[cmp.Or(o.id, fmt.Sprint(o.parent.value, "/", o.name))] = o
	}
	before := v.before
	v.before = now
	if v.screen || before == nil {
		return v.command.print(s, list)
	}
	return s.printEvents(before, now)
}

// printEvents prints a line for every object that came, changed or went, in
// the order of their names.
func (s *session) printEvents(before, now map[string]object) error {
	all := maps.Clone(before)
	maps.Copy(all, now)
	for _, id := range slices.Sorted(maps.Keys(all)) {
		o := all[id]
		was, had := before[id]
		is, has := now[id]
		switch {
		case !had:
			o.event = "added"
		case !has:
			o.event = "deleted"
		case was.line() != is.line():
			o.event = "changed"
		default:
			continue
		}
		var err error
		if s.JSON {
			err = WriteJSON(s.Out, o)
		} else {
			_, err = fmt.Fprintf(s.Out, "%s %s\n", o.event, o.line())
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// line is the object in one line: its name, then its fields, but for those that
// change all the time.
func (o object) line() string {
	var b strings.Builder
	b.WriteString(o.name)
	fields := o.fields
	if o.parent.name != "" {
		fields = append([]field{o.parent}, fields...)
	}
	for _, f := range fields {
		if text := f.text(); text != "" && !f.passing {
			fmt.Fprintf(&b, " %s=%s", f.name, text)
		}
	}
	return strings.TrimPrefix(b.String(), " ")
}

// hasScreen reports whether what is printed goes to a terminal, to be read there.
func (s *session) hasScreen() bool { return isTerminal(s.Out) && !s.JSON }

// draw has something printed. On a terminal it comes in place of what was there,
// notes included, as much of it as there is room for.
func (s *session) draw(show func(*session) error) error {
	if !s.hasScreen() {
		return show(s)
	}
	b := canvas{screen: s.Out.(*os.File)}
	onto := *s
	onto.Out, onto.Err = &b, &b
	if err := show(&onto); err != nil {
		return err
	}
	lines := bytes.SplitAfter(b.Bytes(), []byte("\n"))
	if _, height, err := term.GetSize(int(b.Fd())); err == nil && height > 1 && len(lines) > height {
		more := len(lines) - height
		lines = append(lines[:height-1], fmt.Appendf(nil, "... %d more lines", more))
	}
	_, err := fmt.Fprintf(s.Out, "\x1b[H\x1b[2J%s", bytes.Join(lines, nil))
	return err
}

// canvas is what is drawn on before a screen shows it, as wide as that is.
type canvas struct {
	bytes.Buffer
	screen *os.File
}

// Fd is the screen's, for session.width.
func (c *canvas) Fd() uintptr { return c.screen.Fd() }

// mirror is the store as a watch has told of it.
type mirror struct {
	entities map[topology.Key]topology.Stored
	bad      map[topology.Key]error // values that cannot be used, and that nobody was told of

	store    *store.Store
	networks []store.Network // as they were read last
}

func (m *mirror) apply(u store.Update) {
	if u.Snapshot {
		clear(m.entities)
		clear(m.bad)
	}
	for _, c := range u.Changes {
		delete(m.entities, c.Key)
		delete(m.bad, c.Key)
		if c.Err != nil {
			m.bad[c.Key] = c.Err
		} else if e, ok := c.Entity.(topology.Stored); ok {
			m.entities[c.Key] = e
		}
	}
}

// Get is Store.Get.
func (m *mirror) Get(_ context.Context, key topology.Key) (topology.Stored, error) {
	if e, ok := m.entities[key]; ok {
		return e, nil
	}
	return nil, fmt.Errorf("%s %w", key, store.ErrNotFound)
}

// List is Store.List. Of a value that cannot be used it tells once.
func (m *mirror) List(_ context.Context, kind topology.Kind, parent string) (list []topology.Stored, bad []store.Bad, err error) {
	wanted := func(k topology.Key) bool { return k.Kind == kind && (parent == "" || k.Parent == parent) }
	for key, e := range m.entities {
		if wanted(key) {
			list = append(list, e)
		}
	}
	for key, err := range m.bad {
		if wanted(key) {
			bad = append(bad, store.Bad{Key: key, Err: err})
			delete(m.bad, key)
		}
	}
	slices.SortFunc(list, func(a, b topology.Stored) int { return a.Key().Compare(b.Key()) })
	slices.SortFunc(bad, func(a, b store.Bad) int { return a.Key.Compare(b.Key) })
	return list, bad, nil
}

// Networks is Store.Networks. The watch does not tell of them: they are read
// each time, and while etcd is away they are what they were before.
func (m *mirror) Networks(ctx context.Context) ([]store.Network, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	if all, err := m.store.Networks(ctx); err == nil {
		m.networks = all
	}
	return m.networks, nil
}
