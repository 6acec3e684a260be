package ctl

import (
	"context"
	"errors"
	"fmt"

	"tuplenet/internal/store"
	"tuplenet/internal/topology"
)

// create makes the entities in one transaction and returns them as they are in
// the store.
func (s *session) create(entities ...topology.Stored) ([]topology.Stored, error) {
	return s.createIf(nil, entities...)
}

// createIf is create on a condition, see store.CreateIf.
func (s *session) createIf(check func(*store.View) error, entities ...topology.Stored) ([]topology.Stored, error) {
	made, err := s.store.CreateIf(s.ctx, check, entities...)
	if errors.Is(err, store.ErrExists) {
		return nil, s.sayExists(err, entities)
	}
	return made, err
}

// sayExists puts into the original's words, which scripts look for, that one
// of entities is there already. It returns err itself if that is gone again.
func (s *session) sayExists(err error, entities []topology.Stored) error {
	for _, e := range entities {
		key := e.Key()
		if s.exists(key) != nil {
			continue
		}
		if key.Parent == "" {
			return fmt.Errorf("%s %w", key, store.ErrExists)
		}
		return fmt.Errorf("%s %s exists in %s %s", key.Kind, key.Name, key.Kind.Parent(), key.Parent)
	}
	return err
}

// exists returns store.ErrNotFound, wrapped, if the store does not hold key.
func (s *session) exists(key topology.Key) error {
	_, err := s.read.Get(s.ctx, key)
	return err
}

// list returns the entities of a kind that hang on parent, sorted by name, and
// tells of those that cannot be used.
func (s *session) list(kind topology.Kind, parent string) ([]topology.Stored, error) {
	list, bad, err := s.read.List(s.ctx, kind, parent)
	for _, b := range bad {
		fmt.Fprintf(s.Err, "%s is skipped, its value in the store cannot be used: %v\n", b.Key, b.Err)
	}
	return list, err
}

// note tells what is worth knowing beside the result.
func (s *session) note(notes ...string) {
	for _, n := range notes {
		fmt.Fprintf(s.Err, "note: %s\n", n)
	}
}

// nothingThere reports whether nothing at all is under the store's prefix, and
// tells that: the prefix may be mistyped.
func (s *session) nothingThere() bool {
	ctx, cancel := context.WithTimeout(s.ctx, timeout)
	defer cancel()
	isEmpty, err := s.store.IsEmpty(ctx)
	if isEmpty = isEmpty && err == nil; isEmpty {
		s.note(fmt.Sprintf("etcd holds nothing under %s; TupleNet has never written there (-p or TUPLENET_PREFIX names another prefix)", s.store.Prefix()))
	}
	return isEmpty
}

// find returns one entity, as a list.
func (s *session) find(key topology.Key) ([]topology.Stored, error) {
	e, err := s.read.Get(s.ctx, key)
	if err != nil {
		return nil, err
	}
	return []topology.Stored{e}, nil
}

// childKey returns the key that the first two arguments name: of the switch or
// router that something hangs on, and of that.
func childKey(kind topology.Kind, args []string) (key topology.Key, err error) {
	key.Kind = kind
	if key.Parent, err = name(args[0]); err == nil {
		key.Name, err = name(args[1])
	}
	return key, err
}

// newChildKey is childKey for what is to be made.
func newChildKey(kind topology.Kind, args []string) (topology.Key, error) {
	key, err := childKey(kind, args)
	if err == nil {
		_, err = newName(kind, key.Name)
	}
	return key, err
}

// deleteChild deletes what the arguments name and says so, calling it what the
// original does.
func (s *session) deleteChild(kind topology.Kind, noun string, args []string) error {
	return s.deleteChildIf(nil, kind, noun, args)
}

// deleteChildIf is deleteChild on a condition, see store.DeleteIf.
func (s *session) deleteChildIf(check func(*store.View) error, kind topology.Kind, noun string, args []string) error {
	key, err := childKey(kind, args)
	if err != nil {
		return err
	}
	err = s.store.DeleteIf(s.ctx, check, key, false)
	if errors.Is(err, store.ErrNotFound) {
		// A child may outlive its parent; only where there is none to delete
		// does it matter which of the two is missing.
		if err := s.exists(key.ParentKey()); err != nil {
			return err
		}
	}
	if err != nil {
		return err
	}
	return s.say("%s %s %s %s deleted", kind.Parent(), key.Parent, noun, key.Name)
}

// devices returns the one that args names, or all that hang on nothing.
func (s *session) devices(kind topology.Kind, args []string) ([]topology.Stored, error) {
	if len(args) == 0 {
		return s.list(kind, "")
	}
	n, err := name(args[0])
	if err != nil {
		return nil, err
	}
	list, err := s.find(topology.Key{Kind: kind, Name: n})
	if kind == topology.KindSwitch && errors.Is(err, store.ErrNotFound) {
		if n, err = s.switchOfNetwork(n, err); err == nil {
			list, err = s.find(topology.Key{Kind: kind, Name: n})
		}
	}
	return list, err
}

// children returns what hangs on the switch or router that the first argument
// names: the one that the second names, or all. Without arguments (--all) it
// returns what hangs on any.
func (s *session) children(kind topology.Kind, args []string) ([]topology.Stored, error) {
	if len(args) == 0 {
		return s.list(kind, "")
	}
	key := topology.Key{Kind: kind}
	var err error
	if len(args) > 1 {
		key, err = childKey(kind, args)
	} else {
		key.Parent, err = name(args[0])
	}
	if err != nil {
		return nil, err
	}
	if key.Parent, err = s.meant(key.ParentKey()); err != nil {
		return nil, err
	}
	if key.Name == "" {
		return s.list(kind, key.Parent)
	}
	if kind == topology.KindSwitchPort {
		if key, err = s.portMeant(key); err != nil {
			return nil, err
		}
	}
	return s.find(key)
}

// listDevices and listChildren are what commands list that show the entities of
// a kind as they are.
func listDevices(kind topology.Kind) func(*session, []string) ([]object, error) {
	return func(s *session, args []string) ([]object, error) {
		list, err := s.devices(kind, args)
		return objectsOf(list), err
	}
}

func listChildren(kind topology.Kind) func(*session, []string) ([]object, error) {
	return func(s *session, args []string) ([]object, error) {
		list, err := s.children(kind, args)
		return objectsOf(list), err
	}
}
