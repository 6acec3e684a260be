package cnm

import (
	"context"
	"errors"

	"tuplenet/internal/store"
)

// A swarm frees a network once, as soon as nobody wants containers in it any more,
// and does not hear of a refusal; nor does an engine that removes one. Containers
// that are on their way out on other hosts have ports until they have ended, and
// others may have ports on the switch. So the network is marked, and goes with its
// last port, or else when a plugin next compares what there is.

// free ends a network that its swarm has freed.
func (p *Plugin) free(ctx context.Context, n store.Network) error {
	if err := p.markFreed(ctx, n.ID); err != nil {
		return err
	}
	_, err := p.endFreed(ctx, n)
	return err
}

// markFreed notes that Docker does not know a network any more.
func (p *Plugin) markFreed(ctx context.Context, id string) error {
	err := p.store.ChangeNetwork(ctx, id, func(n *store.Network) { n.Freed = true })
	if errors.Is(err, store.ErrNotFound) { // TupleNet's before this one had no records
		return nil
	}
	return err
}

// endFreed deletes a network that was freed, and reports whether it is gone:
// while its switch has ports it stays.
func (p *Plugin) endFreed(ctx context.Context, n store.Network) (gone bool, err error) {
	err = p.deleteNetwork(ctx, n)
	if errors.Is(err, store.ErrNotEmpty) {
		p.log.Info("network goes when its last port does", "network", n.ID, "name", n.Name, "why", err)
		return false, nil
	}
	return err == nil, err
}

// endFreedOf is endFreed for who has deleted an endpoint of a network, which Docker
// has to be told in any case.
func (p *Plugin) endFreedOf(ctx context.Context, id string) {
	n, err := p.store.Network(ctx, id)
	if err == nil && n.Freed {
		_, err = p.endFreed(ctx, n)
	}
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		p.log.Warn("cannot see whether a network was freed", "network", id, "error", p.denied(err, ""))
		p.lookAgain()
	}
}
