// Package overlay is the flanneld process: it links the pod networks of the nodes.
package overlay

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"sync"

	"github.com/flannel-io/flannel/pkg/backend"
	// The backends register themselves.
	_ "github.com/flannel-io/flannel/pkg/backend/hostgw"
	_ "github.com/flannel-io/flannel/pkg/backend/vxlan"
	"github.com/flannel-io/flannel/pkg/ip"
	"github.com/flannel-io/flannel/pkg/ipmatch"
	"github.com/flannel-io/flannel/pkg/subnet"
	"github.com/flannel-io/flannel/pkg/subnet/kube"
	"github.com/flannel-io/flannel/pkg/trafficmngr/iptables"
	"github.com/spf13/pflag"
)

const (
	// annotationPrefix is flannel's own, by which the nodes tell each other their addresses.
	annotationPrefix = "flannel.alpha.coreos.com"
	// resyncSeconds is how often flannel puts back rules that somebody removed.
	resyncSeconds = 60
	vxlan         = "vxlan"
	hostGateway   = "host-gw"
)

// Run links this node until ctx ends.
func Run(ctx context.Context, arguments []string) error {
	set := pflag.NewFlagSet("flanneld", pflag.ContinueOnError)
	kubeconfig := set.String("kubeconfig", "", "kubeconfig")
	netConf := set.String("net-conf", "", "flannel's network configuration")
	subnetFile := set.String("subnet-file", "", "where to describe this node's subnet")
	publicIP := set.String("public-ip", "", "address that other nodes reach this one by")
	iface := set.String("iface", "", "interface of the pod network; the public address's when empty")
	if err := set.Parse(arguments); err != nil {
		return err
	}
	manager, err := kube.NewSubnetManager(ctx, "", *kubeconfig, annotationPrefix, *netConf, false)
	if err != nil {
		return err
	}
	config, err := manager.GetNetworkConfig(ctx)
	if err != nil {
		return err
	}
	stack, err := ipmatch.GetIPFamily(config.EnableIPv4, config.EnableIPv6)
	if err != nil {
		return err
	}
	search := *iface
	if search == "" {
		search = *publicIP
	}
	external, err := ipmatch.LookupExtIface(search, "", "", stack, ipmatch.PublicIPOpts{PublicIP: *publicIP})
	if err != nil {
		return fmt.Errorf("interface %s: %w", search, err)
	}
	var running sync.WaitGroup
	network, err := register(ctx, &running, manager, external, config)
	if err != nil {
		return err
	}
	traffic := &iptables.IPTablesManager{}
	if err := traffic.Init(ctx); err != nil {
		return err
	}
	if err := traffic.SetupAndEnsureMasqRules(ctx, config.Network, ip.IP4Net{}, ip.IP4Net{}, config.IPv6Network, ip.IP6Net{}, ip.IP6Net{},
		network.Lease(), resyncSeconds, false); err != nil {
		return fmt.Errorf("masquerade rules: %w", err)
	}
	traffic.SetupAndEnsureForwardRules(ctx, config.Network, config.IPv6Network, resyncSeconds)
	if err := os.MkdirAll(filepath.Dir(*subnetFile), 0o755); err != nil {
		return err
	}
	if err := manager.HandleSubnetFile(*subnetFile, config, true, network.Lease().Subnet, network.Lease().IPv6Subnet, network.MTU()); err != nil {
		return err
	}
	log.Printf("this node's pods are in %s, linked by %s", network.Lease().Subnet, config.BackendType)
	network.Run(ctx)
	running.Wait()
	if ctx.Err() == nil {
		return errors.New("the backend ended")
	}
	return nil
}

// register sets the chosen backend up. Where the machine cannot make a VXLAN device, routes by the nodes' own network do
// the same, as long as all nodes are on one.
func register(ctx context.Context, running *sync.WaitGroup, manager subnet.Manager, external *backend.ExternalInterface, config *subnet.Config) (backend.Network, error) {
	backends := backend.NewManager(ctx, manager, external)
	chosen, err := backends.GetBackend(config.BackendType)
	if err != nil {
		return nil, err
	}
	network, err := chosen.RegisterNetwork(ctx, running, config)
	if err == nil || config.BackendType != vxlan {
		return network, err
	}
	log.Printf("vxlan does not work on this machine (%v): host-gw takes its place", err)
	config.BackendType = hostGateway
	if chosen, err = backends.GetBackend(hostGateway); err != nil {
		return nil, err
	}
	return chosen.RegisterNetwork(ctx, running, config)
}
