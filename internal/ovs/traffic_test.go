package ovs

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"tuplenet/flows"
	"tuplenet/internal/ovs/ovstest"
)

func TestTraffic(t *testing.T) {
	t.Parallel()
	o := ovstest.Start(t)
	d, _ := open(t, o)
	o.Vsctl("set", "Open_vSwitch", ".", "other_config:stats-update-interval=5000") // the shortest that there is
	o.Vsctl("add-port", "br-int", "eth-a", "--", "set", "Interface", "eth-a", "type=dummy", "ofport_request=7",
		"--", "add-port", "br-int", "eth-b", "--", "set", "Interface", "eth-b", "type=dummy", "ofport_request=8")
	await(t, d, "the flow connection", d.NeedsSync)
	syncFlows(t, d, mods(&flows.Flow{Table: 0, Priority: 1, Actions: []flows.Action{flows.Output{Port: 8}}}))
	for range 3 {
		o.Appctl("netdev-dummy/receive", "eth-a", fmt.Sprintf("%x", frame(1)))
	}
	size := uint64(3 * len(frame(1)))
	names := []string{"eth-a", "nobody", "eth-b"}
	var got map[string]Traffic
	for deadline := time.Now().Add(patience); got["eth-b"].SentPackets != 3; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("counters are %+v", got)
		}
		var err error
		if got, err = d.Traffic(t.Context(), names); err != nil {
			t.Fatal(err)
		}
	}
	if a, b := got["eth-a"], got["eth-b"]; len(got) != 2 || a.ReceivedPackets != 3 || a.ReceivedBytes != size || a.SentPackets != 0 || b.SentBytes != size {
		t.Errorf("counters are %+v, want 3 packets of %d bytes in all", got, size)
	}
	many := make([]string, 2*trafficAtOnce+1)
	for i := range many {
		many[i] = fmt.Sprint("none", i)
	}
	many[2*trafficAtOnce] = "eth-a"
	if got, err := d.Traffic(t.Context(), many); err != nil || len(got) != 1 {
		t.Errorf("of %d interfaces that are not there, and one that is, %d are told of, %v", len(many)-1, len(got), err)
	}
	o.StopDB()
	await(t, d, "the loss of OVSDB", func() bool { return !d.Links()[0].Up })
	if _, err := d.Traffic(t.Context(), names); !errors.Is(err, ErrNotConnected) {
		t.Errorf("without OVSDB Traffic returns %v, want ErrNotConnected", err)
	}
}
