// Package settings turns flags, environment and config.yaml into one value, and refuses what it does not know.
package settings

import (
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/pflag"

	"gorkheavy.dev/lab/k3s/internal/layout"
)

// Role is the command that was given.
type Role string

// A server runs the control plane and a node; an agent runs a node.
const (
	Server Role = "server"
	Agent  Role = "agent"
)

// Settings is what the command line, the environment and the config files together say.
type Settings struct {
	Role                               Role
	DataDir                            string
	Token, TokenFile, AgentToken       string
	AgentTokenFile                     string
	ServerURL                          string
	NodeName                           string
	WithNodeID                         bool
	NodeIPs, NodeExternalIPs           []string
	NodeLabels, NodeTaints             []string
	BindAddress, AdvertiseAddress      string
	HTTPSPort                          int
	TLSNames                           []string
	ClusterCIDR, ServiceCIDR           string
	ClusterDNS, ClusterDomain          string
	NodePortRange                      string
	FlannelBackend, FlannelIface       string
	Disable                            []string
	WriteKubeconfig                    string
	WriteKubeconfigMode                string
	SecretsEncryption                  bool
	ProtectKernelDefaults              bool
	APIServerArgs, ControllerArgs      []string
	SchedulerArgs, EtcdArgs            []string
	KubeletArgs, KubeProxyArgs         []string
	DisableCloudController             bool
	DisableNetworkPolicy               bool
	DisableHelmController, ClusterInit bool
	PauseImage, LocalStoragePath       string
	Debug                              bool
}

// Layout is where this configuration keeps its files.
func (s Settings) Layout() layout.Layout { return layout.Layout{DataDir: s.DataDir} }

// Disabled reports whether a packaged component was switched off.
func (s Settings) Disabled(component string) bool {
	for _, name := range s.Disable {
		if name == component {
			return true
		}
	}
	return false
}

// components that --disable may name. Traefik and the service load balancer are accepted, as the lab has neither.
var components = []string{"coredns", "servicelb", "traefik", "local-storage", "metrics-server", "runtimes"}

func (s *Settings) flags() *pflag.FlagSet {
	set := pflag.NewFlagSet(string(s.Role), pflag.ContinueOnError)
	set.SortFlags = false
	set.Usage = func() {}
	text := func(target *string, name, value, usage string, variables ...string) {
		for _, variable := range variables {
			if given := os.Getenv(variable); given != "" {
				value = given
			}
		}
		set.StringVar(target, name, value, usage)
	}
	list := func(target *[]string, name, usage string) { set.StringArrayVar(target, name, nil, usage) }

	set.StringP("config", "c", layout.ConfigFile, "(config) file that holds flags as YAML")
	set.BoolVar(&s.Debug, "debug", false, "(logging) turn on debug logs")
	text(&s.DataDir, "data-dir", layout.DataDir, "(data) folder of the state", "K3S_DATA_DIR")
	text(&s.Token, "token", "", "(cluster) shared secret by which nodes join", "K3S_TOKEN")
	text(&s.TokenFile, "token-file", "", "(cluster) file that holds the token", "K3S_TOKEN_FILE")
	text(&s.NodeName, "node-name", "", "(agent/node) node name", "K3S_NODE_NAME")
	set.BoolVar(&s.WithNodeID, "with-node-id", false, "(agent/node) append an id to the node name")
	set.StringSliceVar(&s.NodeIPs, "node-ip", nil, "(agent/networking) address to advertise for the node")
	set.StringSliceVar(&s.NodeExternalIPs, "node-external-ip", nil, "(agent/networking) external address of the node")
	list(&s.NodeLabels, "node-label", "(agent/node) label to register the node with")
	list(&s.NodeTaints, "node-taint", "(agent/node) taint to register the node with")
	list(&s.KubeletArgs, "kubelet-arg", "(agent/flags) flag for the kubelet")
	list(&s.KubeProxyArgs, "kube-proxy-arg", "(agent/flags) flag for kube-proxy")
	set.BoolVar(&s.ProtectKernelDefaults, "protect-kernel-defaults", false, "(agent/node) refuse kernel settings that differ from the kubelet's")
	text(&s.FlannelIface, "flannel-iface", "", "(agent/networking) interface of the pod network")
	text(&s.PauseImage, "pause-image", DefaultPauseImage, "(agent/runtime) image of pod sandboxes")
	text(&s.ServerURL, "server", "", "(cluster) server to join", "K3S_URL")
	if s.Role == Agent {
		return set
	}
	text(&s.AgentToken, "agent-token", "", "(cluster) secret by which agents alone may join", "K3S_AGENT_TOKEN")
	text(&s.AgentTokenFile, "agent-token-file", "", "(cluster) file that holds the agents' token", "K3S_AGENT_TOKEN_FILE")
	text(&s.BindAddress, "bind-address", "0.0.0.0", "(listener) address to listen on")
	text(&s.AdvertiseAddress, "advertise-address", "", "(listener) address that pods reach the API server by")
	set.IntVar(&s.HTTPSPort, "https-listen-port", 6443, "(listener) port to listen on")
	set.StringSliceVar(&s.TLSNames, "tls-san", nil, "(listener) further names and addresses of the server's certificate")
	text(&s.ClusterCIDR, "cluster-cidr", "10.42.0.0/16", "(networking) addresses of pods")
	text(&s.ServiceCIDR, "service-cidr", "10.43.0.0/16", "(networking) addresses of services")
	text(&s.NodePortRange, "service-node-port-range", "30000-32767", "(networking) ports of NodePort services")
	text(&s.ClusterDNS, "cluster-dns", "", "(networking) address of the cluster's DNS")
	text(&s.ClusterDomain, "cluster-domain", "cluster.local", "(networking) domain of the cluster")
	text(&s.FlannelBackend, "flannel-backend", "vxlan", "(networking) vxlan, host-gw or none")
	set.StringSliceVar(&s.Disable, "disable", nil, "(components) packaged components not to deploy")
	text(&s.WriteKubeconfig, "write-kubeconfig", layout.Kubeconfig, "(client) where to write the kubeconfig", "K3S_KUBECONFIG_OUTPUT")
	text(&s.WriteKubeconfigMode, "write-kubeconfig-mode", "0600", "(client) mode of the kubeconfig", "K3S_KUBECONFIG_MODE")
	set.BoolVar(&s.SecretsEncryption, "secrets-encryption", false, "(security) encrypt secrets at rest")
	list(&s.EtcdArgs, "etcd-arg", "(flags) flag for etcd (quota-backend-bytes alone)")
	list(&s.APIServerArgs, "kube-apiserver-arg", "(flags) flag for kube-apiserver")
	list(&s.ControllerArgs, "kube-controller-manager-arg", "(flags) flag for kube-controller-manager")
	list(&s.SchedulerArgs, "kube-scheduler-arg", "(flags) flag for kube-scheduler")
	set.BoolVar(&s.DisableCloudController, "disable-cloud-controller", false, "(components) no cloud controller (the lab has none)")
	set.BoolVar(&s.DisableNetworkPolicy, "disable-network-policy", false, "(components) no network policy controller (the lab has none)")
	set.BoolVar(&s.DisableHelmController, "disable-helm-controller", false, "(components) no Helm controller (the lab has none)")
	set.BoolVar(&s.ClusterInit, "cluster-init", false, "(cluster) start with embedded etcd (the lab always does)")
	text(&s.LocalStoragePath, "default-local-storage-path", "/var/lib/rancher/k3s/storage", "(storage) folder of local volumes")
	return set
}

// Usage describes the flags of a role.
func Usage(role Role) string {
	return (&Settings{Role: role}).flags().FlagUsages()
}

func (s *Settings) check() error {
	if s.Role == Agent && s.ServerURL == "" {
		return fmt.Errorf("server is not set: give --server https://HOST:6443 (or `server:` in %s)", layout.ConfigFile)
	}
	if s.Role == Server && s.ServerURL != "" {
		return fmt.Errorf("server is %q, but the lab's k3s has one server only: leave it out", s.ServerURL)
	}
	if s.ServerURL != "" && !strings.HasPrefix(s.ServerURL, "https://") {
		return fmt.Errorf("server is %q, but must begin with https://", s.ServerURL)
	}
	for _, address := range append(append([]string{}, s.NodeIPs...), s.NodeExternalIPs...) {
		if net.ParseIP(address) == nil {
			return fmt.Errorf("node-ip is %q, but must be an IP address", address)
		}
	}
	if s.Role == Agent {
		return nil
	}
	for name, value := range map[string]string{"cluster-cidr": s.ClusterCIDR, "service-cidr": s.ServiceCIDR} {
		if _, _, err := net.ParseCIDR(value); err != nil {
			return fmt.Errorf("%s is %q, but must be one network such as 10.42.0.0/16", name, value)
		}
	}
	switch s.FlannelBackend {
	case "vxlan", "host-gw", "none":
	default:
		return fmt.Errorf("flannel-backend is %q, but the lab's k3s knows vxlan, host-gw and none", s.FlannelBackend)
	}
	for _, name := range s.Disable {
		if !(&Settings{Disable: components}).Disabled(name) {
			return fmt.Errorf("disable names %q, but the packaged components are %s", name, strings.Join(components, ", "))
		}
	}
	if mode, err := strconv.ParseUint(s.WriteKubeconfigMode, 8, 32); err != nil || mode > 0o777 {
		return fmt.Errorf("write-kubeconfig-mode is %q, but must be an octal mode such as 0600", s.WriteKubeconfigMode)
	}
	return nil
}
