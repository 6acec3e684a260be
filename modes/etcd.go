package modes

import (
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os/signal"
	"strings"
	"syscall"

	"github.com/urfave/cli/v2"

	"tuplenet/embedded"
)

func etcdCommand() *cli.Command {
	return &cli.Command{
		Name:  string(ModeEtcd),
		Usage: "run an etcd server, alone or as a member of a cluster",
		Description: "It listens on this machine alone unless it is told otherwise. SIGTERM and SIGINT stop it.\n" +
			"GET /health on a client URL tells whether it serves. A member of a new cluster is ready when most\n" +
			"of its members are there. Its commands are for the operator of any etcd.\n\n" +
			example("tuplenet etcd --data-dir /var/lib/tuplenet/etcd",
				"tuplenet etcd --listen-client https://192.168.1.10:2379 --cert etcd.pem --key etcd.key",
				"tuplenet etcd --name a --listen-client http://192.168.1.10:2379 --listen-peer http://192.168.1.10:2380 \\",
				"    --initial-cluster a=http://192.168.1.10:2380,b=http://192.168.1.11:2380,c=http://192.168.1.12:2380"),
		Flags:       etcdServerFlags(),
		Subcommands: etcdTools(),
		Action:      runEtcd,
	}
}

// etcdServerFlags say how a server runs.
func etcdServerFlags() []cli.Flag {
	return []cli.Flag{
		etcdServerFlag("name", "default", "`NAME` of this member in its cluster"),
		etcdServerFlag("data-dir", "/var/lib/tuplenet/etcd", "`DIRECTORY` of the data; made when missing"),
		etcdServerFlag("listen-client", embedded.DefaultClientURL, "`URL` for clients: http, https or unix:///PATH; several are separated by commas"),
		etcdServerFlag("advertise-client", "", "`URL` that clients of other members learn, if not that of --listen-client"),
		etcdServerFlag("listen-peer", embedded.DefaultPeerURL, "`URL` for the cluster's other members: http or https"),
		etcdServerFlag("advertise-peer", "", "`URL` that the other members use, if not that of --listen-peer"),
		etcdServerFlag("initial-cluster", "", "`NAME=URL,...` of all members' peer URLs; without it this member is alone"),
		etcdServerFlag("initial-cluster-state", "new", "`STATE` of that cluster: new, or existing for a member that joins it"),
		etcdServerFlag("cert", "", "PEM `FILE` with the certificate for https client URLs"),
		etcdServerFlag("key", "", "PEM `FILE` with the key of --cert"),
		etcdServerFlag("cacert", "", "PEM `FILE` with the authority of clients' certificates; who has none is refused"),
		etcdServerFlag("peer-cert", "", "PEM `FILE` with the certificate for https peer URLs"),
		etcdServerFlag("peer-key", "", "PEM `FILE` with the key of --peer-cert"),
		etcdServerFlag("peer-cacert", "", "PEM `FILE` with the authority of members' certificates; who has none is refused"),
		etcdServerFlag("auto-compaction-retention", "1h", "`DURATION` of the history that is kept; 0 keeps all"),
		etcdServerFlag("listen-metrics", "", "`URL` of another listener for /metrics and /health, in plain HTTP"),
	}
}

// etcdServerFlag declares a flag with its environment variable.
func etcdServerFlag(name, initial, usage string) cli.Flag {
	env := "TUPLENET_ETCD_" + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
	return &cli.StringFlag{Name: name, EnvVars: []string{env}, Value: initial, Usage: usage}
}

func runEtcd(c *cli.Context) error {
	if c.Args().Present() {
		return fmt.Errorf("etcd takes no argument %q (see %s --help)", c.Args().First(), c.Command.HelpName)
	}
	cfg := etcdServerConfig(c)
	for _, u := range exposed(cfg) {
		fmt.Fprintf(c.App.ErrWriter, "warning: %s is open to the network and has no TLS: who reaches it can read and change everything\n", u)
	}
	if ca := cfg.PeerTLS.TrustedCAFile; ca != "" && ca == cfg.ClientTLS.TrustedCAFile {
		fmt.Fprintf(c.App.ErrWriter, "warning: %s is the authority of clients and of members: to the peer URL every client is a member, who may write anything\n", ca)
	}
	ctx, stop := signal.NotifyContext(c.Context, syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	server, err := embedded.Start(ctx, cfg)
	if ctx.Err() != nil {
		err = nil // it was stopped before it was ready
	}
	if server == nil {
		return err
	}
	defer server.Stop()
	systemd := newService(ctx, slog.Default())
	systemd.ready()
	go systemd.feed(ctx, server.Answer)
	fmt.Fprintf(c.App.Writer, "etcd serves %s, its data is in %s\n", strings.Join(server.Endpoints(), ", "), cfg.DataDir)
	select {
	case <-ctx.Done():
		return nil
	case err := <-server.Failed():
		return fmt.Errorf("etcd in %s: %w", cfg.DataDir, err)
	}
}

func etcdServerConfig(c *cli.Context) embedded.Config {
	tls := func(prefix string) embedded.TLS {
		ca := c.String(prefix + "cacert")
		return embedded.TLS{CertFile: c.String(prefix + "cert"), KeyFile: c.String(prefix + "key"), TrustedCAFile: ca, ClientCertAuth: ca != ""}
	}
	return embedded.Config{
		Name:                    c.String("name"),
		DataDir:                 c.String("data-dir"),
		ClientURLs:              commaList(c.String("listen-client")),
		AdvertiseClientURLs:     commaList(c.String("advertise-client")),
		PeerURLs:                commaList(c.String("listen-peer")),
		AdvertisePeerURLs:       commaList(c.String("advertise-peer")),
		InitialCluster:          c.String("initial-cluster"),
		InitialClusterState:     c.String("initial-cluster-state"),
		ClientTLS:               tls(""),
		PeerTLS:                 tls("peer-"),
		AutoCompactionRetention: c.String("auto-compaction-retention"),
		MetricsURLs:             commaList(c.String("listen-metrics")),
	}
}

// commaList returns the parts of a flag that takes several.
func commaList(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ' ' })
}

// exposed returns the URLs that other machines reach without TLS.
func exposed(cfg embedded.Config) []string {
	var open []string
	for _, s := range append(cfg.ClientURLs, cfg.PeerURLs...) {
		u, err := url.Parse(s)
		if err != nil || u.Scheme != "http" || u.Hostname() == "localhost" {
			continue
		}
		if ip := net.ParseIP(u.Hostname()); ip == nil || !ip.IsLoopback() {
			open = append(open, s)
		}
	}
	return open
}
