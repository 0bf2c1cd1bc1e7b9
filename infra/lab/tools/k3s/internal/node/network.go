package node

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"log"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"gorkheavy.dev/lab/k3s/internal/gateway"
	"gorkheavy.dev/lab/k3s/internal/layout"
	"gorkheavy.dev/lab/k3s/internal/process"
	"gorkheavy.dev/lab/k3s/internal/settings"
)

func cniConfigDir(dir layout.Layout) string { return dir.Agent("etc", "cni", "net.d") }

// flanneld writes flannel's configuration and describes the process that links this node's pods with the others'.
func flanneld(s settings.Settings, self Identity, cluster gateway.ClusterConfig) (process.Process, error) {
	dir := s.Layout()
	content, err := json.Marshal(map[string]any{
		"Network":    cluster.ClusterCIDR,
		"EnableIPv4": true,
		"Backend":    map[string]any{"Type": cluster.FlannelBackend},
	})
	if err != nil {
		return process.Process{}, err
	}
	path := dir.Agent("etc", "flannel", "net-conf.json")
	if err := layout.WriteFile(path, content, 0o644); err != nil {
		return process.Process{}, err
	}
	arguments := process.Arguments{
		"kubeconfig":  dir.Agent("k3scontroller.kubeconfig"),
		"net-conf":    path,
		"subnet-file": layout.SubnetFile,
		"public-ip":   self.Addresses[0],
		"iface":       s.FlannelIface,
	}
	return process.Process{Name: "flanneld", Args: arguments.Flags(), Env: []string{"NODE_NAME=" + self.Name}}, nil
}

// writeNetwork waits for flannel's subnet file and writes the CNI configuration, without which no pod starts.
func writeNetwork(ctx context.Context, dir layout.Layout, cluster gateway.ClusterConfig) error {
	for {
		subnet, mtu, err := readSubnet(layout.SubnetFile)
		if err == nil {
			content, err := cniConfig(subnet, mtu, cluster.ClusterCIDR)
			if err != nil {
				return err
			}
			return layout.WriteFile(filepath.Join(cniConfigDir(dir), "10-flannel.conflist"), content, 0o644)
		}
		if !errors.Is(err, os.ErrNotExist) && !errors.Is(err, errIncomplete) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(200 * time.Millisecond):
		}
	}
}

var errIncomplete = errors.New("the subnet file has no FLANNEL_SUBNET or no FLANNEL_MTU yet")

func readSubnet(path string) (subnet string, mtu int, err error) {
	file, err := os.Open(path)
	if err != nil {
		return "", 0, err
	}
	defer file.Close()
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), "=")
		switch name {
		case "FLANNEL_SUBNET":
			// Flannel writes the bridge's address; the plugin wants the network's.
			if _, network, err := net.ParseCIDR(value); err == nil {
				subnet = network.String()
			}
		case "FLANNEL_MTU":
			mtu, _ = strconv.Atoi(value)
		}
	}
	if subnet == "" || mtu == 0 {
		return "", 0, errIncomplete
	}
	return subnet, mtu, nil
}

// cniConfig bridges the node's pods, as flannel's own CNI plugin would have it done.
func cniConfig(subnet string, mtu int, clusterCIDR string) ([]byte, error) {
	type object = map[string]any
	return json.MarshalIndent(object{
		"cniVersion": "0.4.0",
		"name":       "cbr0",
		"plugins": []object{
			{
				"type": "bridge", "bridge": "cni0", "mtu": mtu,
				"isDefaultGateway": true, "hairpinMode": true, "forceAddress": true, "ipMasq": false,
				"ipam": object{
					"type":   "host-local",
					"ranges": [][]object{{{"subnet": subnet}}},
					"routes": []object{{"dst": clusterCIDR}},
					// Gone with a reboot, like the pods whose addresses it remembers.
					"dataDir": filepath.Join(layout.RunDir, "cni"),
				},
			},
			{"type": "portmap", "capabilities": object{"portMappings": true}},
		},
	}, "", "  ")
}

// startNetwork starts flannel and, as soon as it knows this node's subnet, lets pods start.
func startNetwork(ctx context.Context, group *process.Group, s settings.Settings, self Identity, cluster gateway.ClusterConfig) error {
	forgetSubnet(s.Layout())
	flannel, err := flanneld(s, self, cluster)
	if err != nil {
		return err
	}
	group.Keep(flannel)
	go func() {
		if err := writeNetwork(ctx, s.Layout(), cluster); err != nil && ctx.Err() == nil {
			log.Printf("pod network: %v", err)
		}
	}()
	return nil
}

// forgetSubnet removes the subnet of the last run, as a node that was deleted and came back has another. After a reboot
// the CNI configuration goes too: no pod may start before flannel has set up the routes.
func forgetSubnet(dir layout.Layout) {
	if os.Remove(layout.SubnetFile) != nil {
		_ = os.Remove(filepath.Join(cniConfigDir(dir), "10-flannel.conflist"))
	}
}
