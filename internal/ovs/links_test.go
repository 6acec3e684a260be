package ovs

import (
	"slices"
	"testing"

	"tuplenet/internal/ovs/ovstest"
)

// Connections that were lost and came back are counted, each by itself.
func TestLinks(t *testing.T) {
	t.Parallel()
	o := ovstest.Start(t)
	d, _ := open(t, o)
	are := func(want ...Link) func() bool {
		return func() bool { return slices.Equal(d.Links(), want) }
	}
	await(t, d, "all connections", are(Link{"ovsdb", true, 0}, Link{"flows", true, 0}, Link{"packets", true, 0}))
	o.StopVswitchd()
	await(t, d, "the loss of two", are(Link{"ovsdb", true, 0}, Link{"flows", false, 0}, Link{"packets", false, 0}))
	o.StartVswitchd()
	await(t, d, "their return", are(Link{"ovsdb", true, 0}, Link{"flows", true, 1}, Link{"packets", true, 1}))
	o.StopDB()
	await(t, d, "the loss of OVSDB", func() bool { return !d.Links()[0].Up })
	o.StartDB()
	await(t, d, "its return", func() bool { return d.Links()[0] == Link{"ovsdb", true, 1} })
}
