package bench

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"
)

// BenchmarkScrape measures what it costs an agent with all flows of a large
// topology to tell its figures.
func BenchmarkScrape(b *testing.B) {
	s := newSite(b, Large)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	cmd, _ := s.agent("--metrics", address)
	defer s.stop(cmd)
	s.settled()
	time.Sleep(2 * time.Second) // until it has taken in the tunnel ports

	const scrapes = 100
	var took, held []time.Duration
	series, size := 0, 0
	before := cpu(b, cmd.Process.Pid)
	for range scrapes {
		start := time.Now()
		page := fetch(b, "http://"+address+"/metrics")
		took = append(took, time.Since(start))
		series, size = 0, len(page)
		for line := range strings.Lines(page) {
			if value, ok := strings.CutPrefix(line, "tuplenet_scrape_loop_seconds "); ok {
				seconds, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
				if err != nil {
					b.Fatal(err)
				}
				held = append(held, time.Duration(seconds*1e9))
			}
			if strings.HasPrefix(line, "tuplenet_scrape_success{") && !strings.HasSuffix(line, " 1\n") {
				b.Fatalf("a scrape lacks something: %s", line)
			}
			if !strings.HasPrefix(line, "#") {
				series++
			}
		}
	}
	used := (cpu(b, cmd.Process.Pid) - before) / scrapes
	middle, loop := median(took), median(held) // it sorts
	b.ReportMetric(micro(middle)/1e3, "ms/scrape")
	report(b, "a scrape of /metrics at 20,000 ports, with all flows",
		fmt.Sprintf("median %.1f ms, worst of %d %.1f ms; the agent's loop is held up for %.2f ms, at worst %.2f ms; %d series, %d KB; %.1f ms of the agent's processor time",
			micro(middle)/1e3, scrapes, micro(took[scrapes-1])/1e3, micro(loop)/1e3, micro(held[scrapes-1])/1e3, series, size>>10, micro(used)/1e3),
		"50 ms, the loop 1 ms, 500 series, ours", middle < 50*time.Millisecond && loop < time.Millisecond && series < 500)

	took = nil
	for range scrapes {
		start := time.Now()
		if page := fetch(b, "http://"+address+"/metrics/ports"); strings.Count(page, "\ntuplenet_port_receive_bytes_total{") != Large.Local {
			b.Fatalf("of %d ports this is told:\n%s", Large.Local, page)
		}
		took = append(took, time.Since(start))
	}
	middle = median(took)
	report(b, fmt.Sprintf("a scrape of /metrics/ports, %d ports plugged in", Large.Local),
		fmt.Sprintf("median %.1f ms, worst of %d %.1f ms", micro(middle)/1e3, scrapes, micro(took[scrapes-1])/1e3), "50 ms, ours", middle < 50*time.Millisecond)
}

func fetch(b *testing.B, url string) string {
	b.Helper()
	resp, err := http.Get(url)
	if err != nil {
		b.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		b.Fatalf("%s: %s, %v\n%s", url, resp.Status, err, text)
	}
	return string(text)
}
