// Package drawing draws the virtual network: routers, switches with their
// ports, the chassis that carry them, and what joins them.
//
// New makes a Graph of what the store holds, Graph.Around takes a part of it,
// Graph.Fold draws what is alike as one, and then it is written as text for a
// terminal (Graph.Text), for Graphviz (Graph.DOT), as an SVG picture with a
// layout of our own (Graph.SVG) or as JSON (Graph.JSON). What refers to
// something that is not there, and what does not count because of a conflict,
// is drawn all the same, and marked.
//
// It is pure: no I/O but the writer that it is given, no clock. It shows what
// the store holds, not what agents have made of it. Its caller is
// internal/ctl, for tpctl topology.
package drawing
