// Package config is what can be set of an agent, and of whatever else reaches etcd
// or Open vSwitch as the agent does: one table of settings, of which flags, the file
// /etc/tuplenet/agent.yaml, its packaged example and docs/configuration.md are made.
//
// A setting is looked for among the flags, then in the environment, then in the
// file, and has its default if none of them says it:
//
//	flag ─▶ environment ─▶ file ─▶ default
//
// What resolves settings keeps where each of them came from, so that errors and
// `tuplenet agent --check` can tell. A Follower takes over what changes in the file
// while the agent runs.
//
// It declares no flags, starts no agent and knows nothing of modes: these call it.
// It reads the file and the certificates that the file names, and nothing else.
package config
