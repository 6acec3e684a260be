package runtimes

import (
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"tuplenet/internal/lab"
)

// refused are commands of Docker's that cannot be carried out, and what their
// user reads behind "Error response from daemon: ": one sentence, with what to do
// about it. (Docker puts a full stop behind those of `docker run`.)
var refused = []struct{ command, says string }{
	{"network create -d tuplenet --subnet 10.20.3.0/24 -o swich=LS_A no",
		`NetworkDriver.CreateNetwork: unknown option -o swich=LS_A; did you mean "switch"?`},
	{"network create -d tuplenet --subnet 10.20.3.0/24 -o router=LR-other no",
		"NetworkDriver.CreateNetwork: router LR-other, which the network would be linked to, is not found: make it with tpctl lr add LR-other, or name another by -o router= (none at all: -o router=)"},
	{"network create -d tuplenet --subnet 10.20.3.0/24 -o switch=LS-X no",
		"NetworkDriver.CreateNetwork: switch LS-X not found: make it with tpctl ls add LS-X, or see those that there are: tpctl ls show"},
	{"network create -d tuplenet --subnet 10.20.3.0/24 -o switch=LS_A no",
		"NetworkDriver.CreateNetwork: switch LS_A has the network 10.20.1.0/24 of router LR-central, and the subnet 10.20.3.0/24 is another: give --ipam-driver tuplenet --ipam-opt switch=LS_A, or --subnet 10.20.1.0/24 --gateway 10.20.1.1"},
	{"network create -d tuplenet --ipam-driver tuplenet --subnet 10.20.1.0/24 --gateway 10.20.1.254 -o switch=LS_A no",
		"NetworkDriver.CreateNetwork: the gateway of 10.20.1.0/24 on switch LS_A is router LR-central with 10.20.1.1, and not 10.20.1.254: give --ipam-driver tuplenet --ipam-opt switch=LS_A, or --subnet 10.20.1.0/24 --gateway 10.20.1.1"},
	{"network create -d tuplenet --ipam-driver tuplenet --subnet 10.20.1.0/24 no",
		"NetworkDriver.CreateNetwork: router LR-central has the network 10.20.1.0/24 already (port LR-central_to_LS_A), which the subnet 10.20.1.0/24 overlaps: give another --subnet, or be on its switch: -o switch=LS_A"},
	{"network create -d tuplenet --subnet 10.30.1.0/24 no",
		"NetworkDriver.CreateNetwork: the last two numbers of the gateway 10.30.1.1 are those of 10.20.1.1, another port of router LR-central (LR-central_to_LS_A), which tells its ports apart by them: give --subnet with another --gateway, or leave it to --ipam-driver tuplenet"},
	{"network create -d tuplenet --ipam-driver tuplenet --subnet 10.20.3.0/24 --subnet 10.20.4.0/24 no",
		"NetworkDriver.CreateNetwork: 2 subnets are given, but a network of TupleNet has one: give one --subnet"},
	{"network create -d tuplenet --subnet 10.20.3.0/24 --ipv6 --subnet fd00::/64 no",
		"NetworkDriver.CreateNetwork: networks of TupleNet have IPv4 alone: leave --ipv6 and its subnet out"},
	{"network create -d tuplenet --ipam-driver tuplenet --subnet 10.0.0.0/8 no",
		"IpamDriver.RequestPool: subnet 10.0.0.0/8 is wider than /16, and ports of a switch are told apart by the low 16 bits of their addresses: take a /16 or a part of it"},
	{"network create -d tuplenet --ipam-driver tuplenet --ipam-opt swich=LS_A no",
		`IpamDriver.RequestPool: unknown option --ipam-opt swich=LS_A; did you mean "switch"?`},
	{"network create -d tuplenet --subnet 10.20.3.0/24 -o mtu=12 no",
		"NetworkDriver.CreateNetwork: invalid option -o mtu=12: want 68 to 65535 bytes"},
	{"network create -d tuplenet --ipam-driver null no",
		"NetworkDriver.CreateNetwork: the network has no subnet: give --subnet, or with --ipam-driver null -o subnet="},
	{"run --rm --name no --network shared --ip 10.20.1.10 " + image,
		"IpamDriver.RequestAddress: address 10.20.1.10: conflict with other IP: port lsp-alice of switch LS_A has it on host host-alice; see: tpctl lsp show LS_A --filter ip=10.20.1.10."},
	{"run --rm --name no --network shared --mac-address f2:01:0a:14:01:02 " + image,
		"failed to create endpoint no on network shared: NetworkDriver.CreateEndpoint: MAC f2:01:0a:14:01:02 belongs to switch port LS_A/ID."},
	{"run --rm --name no --network shared -p 8080:80 " + image,
		"driver failed programming external connectivity on endpoint no (ID): NetworkDriver.ProgramExternalConnectivity: no port of a host is published for a container of this network: leave -p (ports:) out; inside of TupleNet its own address has all its ports, and from outside it is reached by an address on the edge: tpctl lnat add ROUTER NAME ADDRESS/32 dnat EXTERNAL-ADDRESS."},
	// Docker's own IPAM gives the address that a container of the other network has.
	{"run --rm --name no --network unaware " + image,
		"failed to create endpoint no on network unaware: NetworkDriver.CreateEndpoint: address 10.20.1.2 belongs to switch port LS_A/ID (owner cnm:ID/ID/eth, chassis host-alice); if it was not you who chose it, Docker's own IPAM did, which knows nothing of other hosts: make the network with --ipam-driver tuplenet."},
}

// The same where somebody is down.
const (
	withoutAgent = `failed to create endpoint no on network shared: NetworkDriver.CreateEndpoint: no agent of TupleNet answers at /var/run/tuplenet/attach.sock: start it on this host (tuplenet agent), or name its run directory by "rundir" in the configuration, or by TUPLENET_RUNDIR.`
	withoutEtcd  = "IpamDriver.RequestAddress: listing the networks of Docker: etcd at 192.168.1.1:2379: no answer in time: nobody listens there (connection refused)."
)

// TestDockerErrors shows what a user of Docker reads when something cannot be, and
// that nothing is left of it.
func TestDockerErrors(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	e := newEngine(c.machines[0])
	e.shared()
	e.docker("network", "create", "-d", "tuplenet", "--subnet", "10.20.1.0/24", "--gateway", "10.20.1.1", "-o", "switch=LS_A", "unaware")
	e.up("first", "shared")
	e.up("second", "shared")
	for _, r := range refused {
		e.refuses(r.command, r.says)
	}
	c.agree(e)

	run := "run --rm --name no --network shared " + image
	c.do(c.Stop(t.Context(), "host-alice", lab.Agent))
	e.refuses(run, withoutAgent)
	e.docker("rm", "-f", "second") // whose port the agent takes back when it is there again
	c.do(c.Start(t.Context(), "host-alice", lab.Agent))
	c.do(c.WaitReady(t.Context()))
	c.agree(e)

	c.do(c.KillEtcd(t.Context(), "etcd"))
	var both sync.WaitGroup
	both.Go(func() { e.refuses(run, withoutEtcd) })
	begun := time.Now()
	e.docker("rm", "-f", "first")
	if took := time.Since(begun); took > 12*time.Second { // 7, of a machine that does nothing else
		t.Errorf("without etcd docker rm -f takes %s", took)
	}
	both.Wait()
	c.do(c.StartEtcd(t.Context(), "etcd"))
	c.do(c.WaitReady(t.Context()))
	c.agree(e)
	e.docker("network", "rm", "unaware", "shared")
	c.nothingLeft()
}

// refuses runs a command of Docker's, which has to fail with a sentence. ID in it
// stands for any of Docker's.
func (e *engine) refuses(command, sentence string) {
	e.t.Helper()
	out, err := e.tryDocker(strings.Fields(command)...)
	if err == nil {
		e.t.Errorf("docker %s succeeds: %s", command, out)
		return
	}
	_, said, _ := strings.Cut(err.Error(), "rror response from daemon: ")
	said, _, _ = strings.Cut(said, "\n")
	if said = dockerID.ReplaceAllString(said, "ID"); said != sentence {
		e.t.Errorf("docker %s:\n got %s\nwant %s", command, said, sentence)
	}
}

var dockerID = regexp.MustCompile(`\b[0-9a-f]{64}\b`)
