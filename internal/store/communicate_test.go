package store

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	clientv3 "go.etcd.io/etcd/client/v3"
)

func TestConversation(t *testing.T) {
	t.Parallel()
	s := start(t)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	commands := s.Commands(ctx, "hv1")
	c, err := s.Converse(ctx)
	if err != nil {
		t.Fatal(err)
	}
	what := Properties{"cmd": "pkt_trace", "packet": "ff00", "port": "lsp-A"}
	var id uint16
	var got Command
	// The agent's watch may not have begun yet.
	for got.ID == 0 {
		if id, err = c.Ask(ctx, []string{"hv0", "hv1"}, what); err != nil {
			t.Fatal(err)
		}
		select {
		case got = <-commands:
		case <-time.After(100 * time.Millisecond):
		}
	}
	if got.ID != id || !cmp.Equal(got.Properties, what) {
		t.Errorf("asked %d %v, the agent hears %d %v", id, what, got.ID, got.Properties)
	}
	if second, err := c.Ask(ctx, []string{"hv0"}, what); err != nil || second == id || second == 0 {
		t.Errorf("a second command while nobody has answered the first: id %d after %d, %v", second, id, err)
	}
	put(t, s, "communicate/cmd_result/nonsense", "a=b")
	put(t, s, "communicate/cmd_result/7/x/hv1", "a=b")
	answers := []Answer{{id, 1, "hv1", Properties{"cmd_type": "pkt_trace"}}, {id, 2, "hv1", Properties{"table_id": "5"}}}
	if err := s.Answer(ctx, answers); err != nil {
		t.Fatal(err)
	}
	for _, want := range answers {
		if got := <-c.Answers(); !cmp.Equal(got, want) {
			t.Errorf("heard %v, want %v", got, want)
		}
	}
	for _, path := range []string{"communicate/cmd_result/", "communicate/push/"} {
		resp, err := s.client.Get(ctx, "/tuplenet/"+path, clientv3.WithPrefix())
		if err != nil {
			t.Fatal(err)
		}
		for _, kv := range resp.Kvs {
			if kv.Lease == 0 && string(kv.Value) != "a=b" {
				t.Errorf("%s has no lease", kv.Key)
			}
		}
	}
	if err := c.End(ctx); err != nil {
		t.Fatal(err)
	}
	for range c.Answers() { // until it is closed, as the lease has ended
	}
	if ctx.Err() != nil {
		t.Error("the conversation goes on without its lease")
	}
	for key := range dump(t, s) {
		if strings.Contains(key, "push/") {
			t.Errorf("%s stays after the conversation", key)
		}
	}
}
