// Package metrics serves an agent's figures to Prometheus, and tells those who
// supervise it whether it lives and is ready:
//
//	/metrics        the figures of the node
//	/metrics/ports  the traffic of each port that is plugged in here
//	/healthz        does the agent's loop turn?
//	/readyz         does the node do all that is asked of it, and what is missing?
//
// The list of all figures is in catalog.go; docs/metrics.md is made of it. The
// package knows their names, and not how they come about: the agent hands them
// over when somebody asks, and does nothing for them before. How many series
// there are depends on tables, kinds and reasons, on the chassis that BFD watches and on
// the routers that translate here, never on how many ports the network has; those
// of ports have a page of their own.
//
// Beside them there are Go's profiles, on a Unix socket and only while they are
// wanted (Profiles).
//
// internal/agent implements Source and serves the pages, modes has the flags.
package metrics
