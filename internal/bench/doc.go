// Package bench measures what the project promises: how long the compiler, the
// agent and the path from etcd to the bridge take, at sizes that its users run;
// and what becomes of packets, in labs of package lab: how long an edge's death
// interrupts them, how many are lost, how fast they are beside a plain bridge,
// what the first one to a destination waits for, and what a scan costs; how
// long the CNI plugin takes beside one that talks to nobody; and what it costs to
// ask for metrics.
// `make bench` calls it, prints its figures as a table and writes them to
// docs/performance.md. It is not part of the product; nothing imports it but
// benchmarks.
package bench
