package ctl

import (
	"errors"
	"fmt"

	"tuplenet/internal/store"
	"tuplenet/internal/topology"
)

// create makes the entities in one transaction and returns them as they are in
// the store.
func (s *session) create(entities ...topology.Stored) ([]topology.Stored, error) {
	made, err := s.store.Create(s.ctx, entities...)
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
	_, err := s.store.Get(s.ctx, key)
	return err
}

// list returns the entities of a kind that hang on parent, sorted by name, and
// tells of those that cannot be used.
func (s *session) list(kind topology.Kind, parent string) ([]topology.Stored, error) {
	list, bad, err := s.store.List(s.ctx, kind, parent)
	for _, b := range bad {
		fmt.Fprintf(s.Err, "%s is skipped, its value in the store cannot be used: %v\n", b.Key, b.Err)
	}
	return list, err
}

func (s *session) showAll(kind topology.Kind, parent string) error {
	list, err := s.list(kind, parent)
	if err != nil {
		return err
	}
	return s.show(list)
}

func (s *session) showOne(key topology.Key) error {
	e, err := s.store.Get(s.ctx, key)
	if err != nil {
		return err
	}
	return s.show([]topology.Stored{e})
}
