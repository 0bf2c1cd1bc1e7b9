package node

import (
	"bufio"
	"encoding/json"
	"net"
	"os"
	"strings"

	"gorkheavy.dev/lab/k3s/internal/gateway"
	"gorkheavy.dev/lab/k3s/internal/layout"
	"gorkheavy.dev/lab/k3s/internal/process"
	"gorkheavy.dev/lab/k3s/internal/settings"
)

const (
	machineResolver = "/etc/resolv.conf"
	// fallbackResolver is what K3s takes when the machine has none that a pod could reach.
	fallbackResolver = "nameserver 8.8.8.8\n"
)

// kubelet writes the kubelet's configuration and describes its process.
func kubelet(s settings.Settings, self Identity, cluster gateway.ClusterConfig, cgroup string) (process.Process, error) {
	dir := s.Layout()
	resolver, err := resolverFile(dir)
	if err != nil {
		return process.Process{}, err
	}
	type object = map[string]any
	config := object{
		"apiVersion": "kubelet.config.k8s.io/v1beta1",
		"kind":       "KubeletConfiguration",
		"authentication": object{
			"anonymous": object{"enabled": false},
			"webhook":   object{"enabled": true, "cacheTTL": "2m0s"},
			"x509":      object{"clientCAFile": dir.Agent("client-ca.crt")},
		},
		"authorization":            object{"mode": "Webhook"},
		"cgroupDriver":             "cgroupfs",
		"cgroupRoot":               cgroup,
		"clusterDNS":               []string{cluster.ClusterDNS},
		"clusterDomain":            cluster.ClusterDomain,
		"containerRuntimeEndpoint": "unix://" + layout.ContainerdSocket,
		"evictionHard":             object{"imagefs.available": "5%", "nodefs.available": "5%"},
		"evictionMinimumReclaim":   object{"imagefs.available": "10%", "nodefs.available": "10%"},
		"failCgroupV1":             false,
		"failSwapOn":               false,
		"featureGates":             object{"KubeletInUserNamespace": true},
		"healthzBindAddress":       "127.0.0.1",
		// Images came as files and could not be fetched again, so none is removed to save room.
		"imageGCHighThresholdPercent":   100,
		"imageGCLowThresholdPercent":    99,
		"localStorageCapacityIsolation": false,
		"oomScoreAdj":                   0,
		"protectKernelDefaults":         s.ProtectKernelDefaults,
		"readOnlyPort":                  0,
		"resolvConf":                    resolver,
		"serializeImagePulls":           false,
		"staticPodPath":                 dir.Agent("pod-manifests"),
		"tlsCertFile":                   dir.Agent("serving-kubelet.crt"),
		"tlsPrivateKeyFile":             dir.Agent("serving-kubelet.key"),
		// A restarted machine must notice quickly that it may run pods again.
		"nodeStatusUpdateFrequency": "5s",
	}
	content, err := json.MarshalIndent(config, "", "  ")
	if err != nil {
		return process.Process{}, err
	}
	file := dir.Agent("etc", "kubelet.conf")
	if err := layout.WriteFile(file, content, 0o600); err != nil {
		return process.Process{}, err
	}
	if err := os.MkdirAll(dir.Agent("pod-manifests"), 0o700); err != nil {
		return process.Process{}, err
	}
	arguments := process.Arguments{
		"config":            file,
		"hostname-override": self.Name,
		"kubeconfig":        dir.Agent("kubelet.kubeconfig"),
		"node-ip":           strings.Join(self.Addresses, ","),
	}
	if len(s.NodeLabels) > 0 {
		arguments["node-labels"] = strings.Join(s.NodeLabels, ",")
	}
	if len(s.NodeTaints) > 0 {
		arguments["register-with-taints"] = strings.Join(s.NodeTaints, ",")
	}
	return process.Process{Name: "kubelet", Args: arguments.With(s.KubeletArgs).Flags()}, nil
}

// resolverFile is the machine's own when a pod can use it: one that asks the loopback address is of no use to a pod.
func resolverFile(dir layout.Layout) (string, error) {
	if file, err := os.Open(machineResolver); err == nil {
		defer file.Close()
		if usableResolver(bufio.NewScanner(file)) {
			return machineResolver, nil
		}
	}
	path := dir.Agent("etc", "resolv.conf")
	return path, layout.WriteFile(path, []byte(fallbackResolver), 0o644)
}

func usableResolver(lines *bufio.Scanner) bool {
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) < 2 || fields[0] != "nameserver" {
			continue
		}
		if address := net.ParseIP(fields[1]); address != nil && address.IsGlobalUnicast() {
			return true
		}
	}
	return false
}

// kubeProxy describes the process that makes Services reachable.
func kubeProxy(s settings.Settings, self Identity, cluster gateway.ClusterConfig) process.Process {
	arguments := process.Arguments{
		"cluster-cidr":         cluster.ClusterCIDR,
		"hostname-override":    self.Name,
		"kubeconfig":           s.Layout().Agent("kubeproxy.kubeconfig"),
		"proxy-mode":           "iptables",
		"healthz-bind-address": "127.0.0.1",
		// The connection table belongs to the kernel that all machines share: its size and times stay as they are.
		"conntrack-max-per-core":            "0",
		"conntrack-tcp-timeout-close-wait":  "0s",
		"conntrack-tcp-timeout-established": "0s",
		"oom-score-adj":                     "0",
	}
	return process.Process{Name: "kube-proxy", Args: arguments.With(s.KubeProxyArgs).Flags()}
}
