package modes

import (
	"strings"
	"testing"
)

func TestMetricsAddress(t *testing.T) {
	for v, want := range map[string]string{"": "", "9481": "127.0.0.1:9481", ":9481": "127.0.0.1:9481", "0.0.0.0:9481": "0.0.0.0:9481"} {
		if got, err := metricsAddress(v); got != want || err != nil {
			t.Errorf("metricsAddress(%q) = %q, %v, want %q", v, got, err, want)
		}
	}
	if _, err := metricsAddress("127.0.0.1"); err == nil || !strings.HasPrefix(err.Error(), `invalid --metrics (TUPLENET_METRICS): "127.0.0.1" is neither`) {
		t.Errorf("an address without a port: %v", err)
	}
}
