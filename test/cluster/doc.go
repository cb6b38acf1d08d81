// Package cluster holds the suite of whole clusters: real binaries on addresses of
// their own, with what breaks between boards: cut networks, power, disks, a frozen
// node, a database that is gone. It has tests only.
//
// Each lab is a set of network namespaces with one bridge, in which every node has its
// own address and the ports of the documentation; nothing of it shows on the machine's own
// network. That needs root. Elsewhere nodes listen on addresses 127.0.1.x, and what needs
// a cut network is left out; each lab logs which of the two it is.
//
// `make test` runs the short form. `make test-cluster` runs the long one: the same tests
// with more rounds and longer partitions. `make bench-cluster` measures an idle cluster.
// PICLOUD_TEST_CLUSTER_KILLS says how often the manager is killed, PICLOUD_TEST_CLUSTER_LOG
// at which level the nodes log; with it their output is shown also when nothing fails.
package cluster
