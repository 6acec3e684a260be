package store

import (
	"context"
	"fmt"

	"tuplenet/internal/topology"
)

// Bind writes the chassis that a switch port is plugged in at into the port's
// value, and leaves the rest of it as it is. Nothing is written when it says
// so already. ErrNotFound: there is no such port.
func (s *Store) Bind(ctx context.Context, key topology.Key, chassis string) error {
	path := s.layout.path(key)
	return s.change(ctx, "binding "+describe(key), []string{path}, func(t *txn) error {
		value, ok := t.get(path)
		if !ok {
			return fmt.Errorf("%s %w", describe(key), ErrNotFound)
		}
		entity, err := topology.Parse(key, value)
		if err != nil {
			return fmt.Errorf("binding %s: %w", describe(key), err)
		}
		port, ok := entity.(topology.SwitchPort)
		if !ok {
			return fmt.Errorf("binding %s: it is no switch port", describe(key))
		}
		if port.Chassis != chassis {
			port.Chassis = chassis
			t.put(path, port.Value())
		}
		return nil
	})
}
