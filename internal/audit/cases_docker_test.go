package audit

import (
	"fmt"
	"strings"
)

// netID is an id as Docker gives them.
var netID = strings.Repeat("0123456789abcdef", 4)

// made is a network of hv1 with a switch of its own, which is linked to R.
var made = linked + strings.ReplaceAll(`
	chassis/hv1 ip=172.16.0.1,tick=1
	LS/NET id=7
	LS/NET/lsp/to_R ip=10.20.3.1,mac=f2:01:0a:14:03:01,peer=to_NET
	LR/R/lrp/to_NET ip=10.20.3.1,prefix=24,mac=f2:01:0a:14:03:01,peer=to_R
	LS/NET/lsp/e1 ip=10.20.3.2,mac=f2:01:0a:14:03:02,chassis=hv1,owner=cnm:NET/e1/eth
	cnm/network/NET {"name":"web","switch":"NET","made":true,"router":"R","subnet":"10.20.3.0/24","gateway":"10.20.3.1","scope":"local","chassis":"hv1"}
	`, "NET", netID)

// shared is a network on a switch that was there before.
const shared = linked + `
	chassis/hv1 ip=172.16.0.1,tick=1
	cnm/network/n1 {"name":"web","switch":"A","subnet":"10.0.1.0/24","gateway":"10.0.1.1","scope":"local","chassis":"hv1"}
	LS/A/lsp/e1 ip=10.0.1.11,mac=f2:01:0a:00:01:0b,chassis=hv1,owner=cnm:n1/e1/eth
	`

// reservedOn is a reservation of a host that is some seconds old.
func reservedOn(chassis, what string, age int64) string {
	return fmt.Sprintf("\ncnm/reserved/%s {\"chassis\":%q,\"since\":%d}\n", what, chassis, now.Unix()-age)
}

// dockerCases are of what the plugin for Docker keeps.
var dockerCases = []storeCase{
	{"sound, with a Docker network", made + reservedOn("hv1", "10.20.3.0-24/10.20.3.9", 3600) + reservedOn("hv1", "10.20.3.0-24/10.20.3.2", 5) +
		reservedOn("hv1", "10.20.4.0-24", 60), nil},
	{"sound, with one on a switch that was there", shared, nil},
	{"sound, with a network of another host that has that subnet, too", made + reservedOn("hv2", "10.20.3.0-24/10.20.3.2", 3600) + `
		chassis/hv2 ip=172.16.0.2,tick=1
		LS/B id=8
		cnm/network/n2 {"name":"other","switch":"B","subnet":"10.20.3.0/24","scope":"local","chassis":"hv2"}`, nil},
	{"a network that no Docker has listed", lose(strings.Replace(made, `"name":"web",`, "", 1), "LS/"+netID+"/lsp/e1"), []string{
		"docker-network-unlisted Docker network " + netID[:12] + " (hv1): tpctl ls del -r --force " + netID}},
	{"one that has containers", strings.Replace(made, `"name":"web",`, "", 1), nil},
	{"sound, as the original makes it", strings.Replace(lose(made, "cnm/network/"+netID), ",owner=cnm:"+netID+"/e1/eth", "", 1), nil},
	{"its network, and a container that we attached", lose(made, "cnm/network/"+netID), nil},
	{"an unreadable network", strings.Replace(made, `"10.20.3.0/24"`, `"10.20.3.0/33"`, 1), []string{
		"docker-record-unreadable /tuplenet/cnm/network/" + netID + ": etcdctl del /tuplenet/cnm/network/" + netID}},
	{"unreadable reservations", "cnm/reserved/10.20.3.0-24/10.20.4.1x {}\ncnm/other/x 1", []string{
		"docker-record-unreadable /tuplenet/cnm/reserved/10.20.3.0-24/10.20.4.1x: tpctl check --repair /tuplenet/cnm/reserved/10.20.3.0-24/10.20.4.1x",
		"strange-key /tuplenet/cnm/other/x: etcdctl del /tuplenet/cnm/other/x"}},
	{"no switch", lose(lose(lose(made, "LS/"+netID), "LS/"+netID+"/lsp/to_R"), "LS/"+netID+"/lsp/e1"), []string{
		"docker-switch-missing Docker network web (hv1): tpctl lrp del --force R to_" + netID + "; etcdctl del /tuplenet/cnm/network/" + netID,
		"peer-missing router port R/to_" + netID + ": follows from Docker network web (hv1)"}},
	{"no switch, but its ports", lose(made, "LS/"+netID), []string{
		"docker-switch-missing Docker network web (hv1): follows from switch " + netID,
		"parent-missing switch " + netID + ": tpctl ls add " + netID}},
	{"no switch, but a port and the router's end", lose(lose(made, "LS/"+netID), "LS/"+netID+"/lsp/to_R"), []string{
		"docker-switch-missing Docker network web (hv1): follows from switch " + netID,
		"parent-missing switch " + netID + ": tpctl ls add " + netID,
		"peer-missing router port R/to_" + netID + ": follows from switch " + netID}},
	{"not the switch that was there", `cnm/network/n1 {"switch":"A","subnet":"10.0.1.0/24","scope":"global","chassis":""}`, []string{
		"docker-switch-missing Docker network n1: etcdctl del /tuplenet/cnm/network/n1"}},
	{"no link", lose(lose(made, "LS/"+netID+"/lsp/to_R"), "LR/R/lrp/to_"+netID), []string{
		"docker-link-missing Docker network web (hv1): tpctl lsp add " + netID + " to_R 10.20.3.1 f2:01:0a:14:03:01 to_" + netID +
			"; tpctl lrp add R to_" + netID + " 10.20.3.1/24 f2:01:0a:14:03:01 to_R"}},
	{"no link, and another network has its name", lose(lose(made, "LS/"+netID+"/lsp/to_R"), "LR/R/lrp/to_"+netID) + "LS/A/lsp/to_R ip=10.0.1.12,mac=f2:01:0a:00:01:0c", []string{
		"docker-link-missing Docker network web (hv1): tpctl lsp add " + netID + " " + netID + "_to_R 10.20.3.1 f2:01:0a:14:03:01 to_" + netID +
			"; tpctl lrp add R to_" + netID + " 10.20.3.1/24 f2:01:0a:14:03:01 " + netID + "_to_R"}},
	{"no router", lose(lose(strings.ReplaceAll(made, `"router":"R"`, `"router":"Q"`), "LS/"+netID+"/lsp/to_R"), "LR/R/lrp/to_"+netID), []string{
		"docker-link-missing Docker network web (hv1): tpctl lr add Q; tpctl lsp add " + netID + " to_Q 10.20.3.1 f2:01:0a:14:03:01 to_" + netID +
			"; tpctl lrp add Q to_" + netID + " 10.20.3.1/24 f2:01:0a:14:03:01 to_Q"}},
	{"half a link of a Docker network", lose(made, "LS/"+netID+"/lsp/to_R"), []string{
		"docker-link-missing Docker network web (hv1): tpctl lsp add " + netID + " to_R 10.20.3.1 f2:01:0a:14:03:01 to_" + netID,
		"peer-missing router port R/to_" + netID + ": follows from Docker network web (hv1)"}},
	{"the other half", lose(made, "LR/R/lrp/to_"+netID), []string{
		"docker-link-missing Docker network web (hv1): tpctl lrp add R to_" + netID + " 10.20.3.1/24 f2:01:0a:14:03:01 to_R",
		"peer-missing switch port " + netID + "/to_R: follows from Docker network web (hv1)"}},
	{"halves that do not fit", strings.Replace(made, ",peer=to_R", ",peer=to_Q", 1), []string{
		"peer-missing router port R/to_" + netID + ": tpctl lrp del --force R to_" + netID,
		"peer-one-sided switch port " + netID + "/to_R: tpctl lsp del --force " + netID + " to_R"}},
	{"an unreadable half", lose(made, "LR/R/lrp/to_"+netID) + "LR/R/lrp/to_" + netID + " nonsense", []string{
		"unreadable-value router port R/to_" + netID + ": tpctl lrp del R to_" + netID}},
	{"a link whose address a container has", lose(lose(made, "LS/"+netID+"/lsp/to_R"), "LR/R/lrp/to_"+netID) +
		"LS/" + netID + "/lsp/x ip=10.20.3.1,mac=f2:01:0a:14:03:01", []string{
		"docker-link-missing Docker network web (hv1): "}},
	{"a gateway that nobody has", strings.Replace(shared, `"gateway":"10.0.1.1"`, `"gateway":"10.0.1.254"`, 1), []string{
		"docker-gateway-missing Docker network web (hv1): "}},
	{"a gateway that nobody needs", strings.Replace(shared, `"gateway":"10.0.1.1"`, `"gateway":"10.0.1.254","internal":true`, 1), nil},
	{"no gateway, and no router", `
		LS/B id=3
		cnm/network/n1 {"switch":"B","subnet":"10.0.1.0/24","gateway":"10.0.1.1","scope":"global","chassis":"hv9"}
		cnm/network/n2 {"switch":"B","subnet":"10.0.1.0/24","scope":"swarm","chassis":"hv9"}`, nil},
	{"a network of a host that is gone", lose(lose(made, "chassis/hv1"), "LS/"+netID+"/lsp/e1"), []string{
		"docker-network-leaked Docker network web (hv1): tpctl ls del -r --force " + netID}},
	{"a network of a host that is gone, on a switch that stays", lose(lose(shared, "chassis/hv1"), "LS/A/lsp/e1"), []string{
		"docker-network-leaked Docker network web (hv1): etcdctl del /tuplenet/cnm/network/n1"}},
	{"a network of many hosts, one of which is gone", strings.Replace(lose(lose(made, "chassis/hv1"), "LS/"+netID+"/lsp/e1"), `"local"`, `"global"`, 1), nil},
	{"a network that its swarm has ended", strings.Replace(lose(made, "LS/"+netID+"/lsp/e1"), `"local"`, `"swarm","freed":true`, 1), []string{
		"docker-network-leaked Docker network web (hv1): tpctl ls del -r --force " + netID}},
	{"one that goes with its last port", strings.Replace(made, `"local"`, `"swarm","freed":true`, 1), nil},
	{"a switch of nobody", lose(lose(made, "cnm/network/"+netID), "LS/"+netID+"/lsp/e1"), []string{
		"docker-network-unrecorded switch " + netID + ": tpctl lrp del R to_" + netID + "; tpctl ls del -r " + netID}},
	{"containers of a network of nobody", lose(shared, "cnm/network/n1") + "LS/A/lsp/e2 ip=10.0.1.12,mac=f2:01:0a:00:01:0c,chassis=hv1,owner=cnm:n1/e2/eth", []string{
		"docker-endpoint-leaked switch port A/e1: tpctl lsp del --force A e1; tpctl lsp del --force A e2"}},
	{"a container of Docker on no host", strings.Replace(shared, "chassis=hv1,owner", "owner", 1), []string{
		"attachment-leaked switch port A/e1: tpctl lsp del --force A e1"}},
	{"a container of Docker on a host that is gone", strings.Replace(shared, "chassis=hv1,owner", "chassis=hv9,owner", 1), []string{
		"chassis-gone chassis hv9: tpctl ch del hv9"}},
	{"reservations that nobody ended", made + reservedOn("hv1", "10.20.3.0-24/10.20.3.2", 61) + reservedOn("hv1", "10.20.3.0-24", 61) +
		reservedOn("hv9", "10.20.3.0-24/10.20.3.7", 5) + reservedOn("hv9", "10.20.3.0-24/10.20.3.8", 5), []string{
		"docker-reservation-left /tuplenet/cnm/reserved/10.20.3.0-24/10.20.3.2: tpctl check --repair /tuplenet/cnm/reserved/10.20.3.0-24/10.20.3.2",
		"docker-reservation-left /tuplenet/cnm/reserved/10.20.3.0-24/10.20.3.7: tpctl check --repair /tuplenet/cnm/reserved/10.20.3.0-24/10.20.3.7",
		"docker-reservation-left /tuplenet/cnm/reserved/10.20.3.0-24: tpctl check --repair /tuplenet/cnm/reserved/10.20.3.0-24"}},
	{"reservations that are old", made + reservedOn("hv1", "10.20.3.0-24/10.20.3.8", 86401) + reservedOn("hv1", "10.20.3.0-24/10.20.3.9", 90000) +
		reservedOn("hv1", "10.20.4.0-24", 3601) + reservedOn("hv1", "10.20.4.0-24/10.20.4.9", 3601), []string{
		"docker-reservation-old /tuplenet/cnm/reserved/10.20.3.0-24/10.20.3.8: etcdctl del /tuplenet/cnm/reserved/10.20.3.0-24/10.20.3.8; etcdctl del /tuplenet/cnm/reserved/10.20.3.0-24/10.20.3.9",
		"docker-reservation-old /tuplenet/cnm/reserved/10.20.4.0-24: etcdctl del /tuplenet/cnm/reserved/10.20.4.0-24; etcdctl del /tuplenet/cnm/reserved/10.20.4.0-24/10.20.4.9"}},
	{"virtual addresses of a swarm", strings.Replace(made, `"local"`, `"swarm"`, 1) + reservedOn("hv1", "10.20.3.0-24/10.20.3.8", 86401), nil},
}
