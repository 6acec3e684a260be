package ctl

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"golang.org/x/term"

	"tuplenet/internal/store"
	"tuplenet/internal/topology"
)

var watchFlag = Flag{Name: "watch", Aliases: []string{"w"}, Usage: "print the list, and then what changes in it, until interrupted"}

// reader is where lists come from: the store, or what a watch has told of it.
type reader interface {
	Get(context.Context, topology.Key) (topology.Stored, error)
	List(ctx context.Context, kind topology.Kind, parent string) ([]topology.Stored, []store.Bad, error)
}

// watch prints a command's list, then what changes in it, until the session's
// context ends: on a terminal the list anew, else a line for each change.
func (c Command) watch(s *session, args []string, ch choice) error {
	// What is wrong with the command is told before there is anything to watch.
	if err := s.bounded(func(s *session) error { _, err := c.list(s, args); return err }); err != nil {
		return err
	}
	m := &mirror{entities: map[topology.Key]topology.Stored{}, bad: map[topology.Key]error{}}
	watched := *s
	watched.read = m
	var before map[string]object
	for u := range s.store.Watch(s.ctx) {
		m.apply(u)
		list, err := c.list(&watched, args)
		if err != nil && !errors.Is(err, store.ErrNotFound) { // it may come back
			return err
		}
		list = ch.of(list)
		now := make(map[string]object, len(list))
		for _, o := range list {
			now[fmt.Sprint(o.parent.value, "/", o.name)] = o
		}
		switch {
		case isTerminal(s.Out) && !s.JSON:
			err = s.redraw(c, list)
		case before == nil:
			err = c.print(s, list)
		default:
			err = s.printEvents(before, now)
		}
		if err != nil {
			return err
		}
		before = now
	}
	return nil
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

// line is the object in one line: its name, then its fields.
func (o object) line() string {
	var b strings.Builder
	b.WriteString(o.name)
	fields := o.fields
	if o.parent.name != "" {
		fields = append([]field{o.parent}, fields...)
	}
	for _, f := range fields {
		if text := f.text(); text != "" {
			fmt.Fprintf(&b, " %s=%s", f.name, text)
		}
	}
	return b.String()
}

// redraw prints the list to a terminal in place of what was there, as much of
// it as there is room for.
func (s *session) redraw(c Command, list []object) error {
	var b bytes.Buffer
	onto := *s
	onto.Out = &b
	if err := c.print(&onto, list); err != nil {
		return err
	}
	lines := bytes.SplitAfter(b.Bytes(), []byte("\n"))
	if f, ok := s.Out.(*os.File); ok {
		if _, height, err := term.GetSize(int(f.Fd())); err == nil && height > 1 && len(lines) > height {
			more := len(lines) - height
			lines = append(lines[:height-1], fmt.Appendf(nil, "... %d more lines; --filter shows fewer", more))
		}
	}
	_, err := fmt.Fprintf(s.Out, "\x1b[H\x1b[2J%s", bytes.Join(lines, nil))
	return err
}

// mirror is the store as a watch has told of it.
type mirror struct {
	entities map[topology.Key]topology.Stored
	bad      map[topology.Key]error // values that cannot be used, and that nobody was told of
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
