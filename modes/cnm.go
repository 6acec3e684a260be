package modes

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"

	"github.com/urfave/cli/v2"

	"tuplenet/internal/doctor"
	"tuplenet/internal/store"
	"tuplenet/plugins/cnm"
)

func cnmCommand() *cli.Command {
	return &cli.Command{
		Name:  string(ModeCNM),
		Usage: "serve the Docker Engine of this host as its network plugin (also: tpcnm)",
		Description: "Docker's networks are logical switches then, and its containers get ports of them: docker network create\n" +
			"-d tuplenet. It needs the agent of this host, and takes all settings from its file, which docs/docker.md\n" +
			"describes. While etcd, Docker or the agent are away it serves, and calls fail that need them. SIGTERM ends it\n" +
			"once the calls under way are answered; containers keep their network.\n\n" +
			"With --check it prints a line for each of those that it works with: ok, note, or BAD with what to do about\n" +
			"it, and ends with status 1 if anything is bad.\n\n" +
			example("tpcnm --config /etc/tuplenet/cnm.json", "tpcnm --check"),
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "config", Value: cnm.DefaultConfig, Usage: "JSON `FILE` with the settings: etcd_cluster, data_store_prefix, docker_unix_sock, egress_router_name and others"},
			&cli.BoolFlag{Name: "check", Usage: "say whether the configuration, etcd, Docker, the agent and Open vSwitch do, and end", DisableDefaultText: true},
			&cli.BoolFlag{Name: "json", Aliases: []string{"j"}, Usage: "with --check: print one JSON object a line", DisableDefaultText: true},
		},
		Action: runCNM,
	}
}

func runCNM(c *cli.Context) error {
	switch {
	case c.Args().Present():
		return fmt.Errorf("the plugin takes no argument %q (see %s --help)", c.Args().First(), c.App.Name)
	case c.Bool("check"):
		return checkCNM(c)
	case c.Bool("json"):
		return errors.New("--json belongs to --check")
	}
	cfg, err := cnm.ReadConfig(c.String("config"))
	if err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(c.App.ErrWriter, &slog.HandlerOptions{Level: cfg.Level()}))
	ctx, stop := signal.NotifyContext(c.Context, syscall.SIGTERM, syscall.SIGINT, syscall.SIGQUIT)
	defer stop()
	etcd := cfg.Store()
	etcd.Log = log
	st, err := store.New(etcd)
	if err != nil {
		return err
	}
	defer st.Close()
	listener, err := cnm.Listen(cfg.Socket)
	if err != nil {
		return err
	}
	log.Info("serves Docker's networks", "socket", cfg.Socket, "docker", cfg.DockerSocket,
		"etcd", strings.Join(st.Endpoints(), ","), "prefix", st.Prefix(), "version", version())
	// Docker asks as soon as it is told that the plugin is there, and it is answered.
	systemd := newService(ctx, log)
	systemd.ready()
	go systemd.feed(ctx, func(ctx context.Context) error { return cnm.Answer(ctx, cfg.Socket) })
	var first sync.WaitGroup
	first.Go(func() { warn(ctx, log, cfg) })
	defer first.Wait()
	return stopped(ctx, cnm.New(cfg, st, log).Serve(ctx, listener))
}

// warn logs what will make calls fail, as things are now. Docker itself may be
// starting: it waits for its plugins.
func warn(ctx context.Context, log *slog.Logger, cfg cnm.Config) {
	for _, f := range cnm.Check(ctx, cfg) {
		if !f.OK && f.Check != "Docker" && ctx.Err() == nil {
			log.Warn(strings.TrimSpace(f.Check+" "+f.Subject)+" is not as it has to be", "found", f.Text, "remedy", f.Remedy)
		}
	}
}

// checkCNM prints what is found of the plugin's configuration and of those that it
// works with.
func checkCNM(c *cli.Context) error {
	say := func(f doctor.Finding) error {
		_, err := fmt.Fprintln(c.App.Writer, f)
		return err
	}
	if c.Bool("json") {
		lines := json.NewEncoder(c.App.Writer)
		say = func(f doctor.Finding) error { return lines.Encode(f) }
	}
	found := doctor.Docker(c.Context, c.String("config"), os.Getenv("OVS_RUNDIR"))
	healthy := true
	for _, f := range found {
		healthy = healthy && f.OK
		if err := say(f); err != nil {
			return err
		}
	}
	if !healthy {
		return cli.Exit("", 1) // what is bad has been told
	}
	return nil
}
