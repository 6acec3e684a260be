package modes

import (
	"slices"
	"testing"

	"tuplenet/embedded"
)

func TestExposed(t *testing.T) {
	got := exposed(embedded.Config{
		ClientURLs: []string{"http://127.0.0.1:1", "http://[::1]:2", "http://localhost:3", "https://10.0.0.1:4", "unix:///run/etcd", "http://0.0.0.0:5"},
		PeerURLs:   []string{"http://10.0.0.1:6", "https://10.0.0.1:7"},
	})
	if want := []string{"http://0.0.0.0:5", "http://10.0.0.1:6"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
