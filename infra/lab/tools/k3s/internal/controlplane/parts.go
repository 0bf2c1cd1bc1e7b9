package controlplane

import (
	"fmt"
	"net"
	"strconv"

	"gorkheavy.dev/lab/k3s/internal/process"
	"gorkheavy.dev/lab/k3s/internal/settings"
)

const (
	// APIServerPort is where kube-apiserver listens, on the loopback address only; the supervisor passes requests on.
	APIServerPort = 6444
	// APIServerURL reaches it from this machine.
	APIServerURL = "https://127.0.0.1:6444"
	etcdURL      = "https://127.0.0.1:2379"
)

// Foundation is what everything else talks to, in the order of start.
func Foundation(s settings.Settings, nodeIP string) []process.Process {
	return []process.Process{
		{Name: "etcd", Args: etcdArguments(s).With(s.EtcdArgs).Flags()},
		{Name: "kube-apiserver", Args: apiServerArguments(s, nodeIP).With(s.APIServerArgs).Flags()},
	}
}

// Controllers need an API server that is ready: before that it has not given them their rights, and they would end at once.
func Controllers(s settings.Settings) []process.Process {
	return []process.Process{
		{Name: "kube-controller-manager", Args: controllerArguments(s).With(s.ControllerArgs).Flags()},
		{Name: "kube-scheduler", Args: schedulerArguments(s).With(s.SchedulerArgs).Flags()},
	}
}

func etcdArguments(s settings.Settings) process.Arguments {
	return process.Arguments{
		"data-dir": s.Layout().Server("db", "etcd"),
		"tls-dir":  s.Layout().TLS("etcd"),
	}
}

func apiServerArguments(s settings.Settings, nodeIP string) process.Arguments {
	dir := s.Layout()
	issuer := "https://kubernetes.default.svc." + s.ClusterDomain
	advertise := s.AdvertiseAddress
	if advertise == "" {
		advertise = nodeIP
	}
	arguments := process.Arguments{
		"advertise-address":         advertise,
		"allow-privileged":          "true",
		"anonymous-auth":            "false",
		"api-audiences":             issuer + ",k3s",
		"authorization-mode":        "Node,RBAC",
		"bind-address":              "127.0.0.1",
		"cert-dir":                  dir.TLS("temporary-certs"),
		"client-ca-file":            dir.TLS("client-ca.crt"),
		"enable-admission-plugins":  "NodeRestriction",
		"enable-aggregator-routing": "true",
		// The supervisor writes the endpoint itself: kube-apiserver would name its own port, which only this machine reaches.
		"endpoint-reconciler-type":           "none",
		"etcd-cafile":                        dir.TLS("etcd", "server-ca.crt"),
		"etcd-certfile":                      dir.TLS("etcd", "client.crt"),
		"etcd-keyfile":                       dir.TLS("etcd", "client.key"),
		"etcd-servers":                       etcdURL,
		"kubelet-certificate-authority":      dir.TLS("server-ca.crt"),
		"kubelet-client-certificate":         dir.TLS("client-kube-apiserver.crt"),
		"kubelet-client-key":                 dir.TLS("client-kube-apiserver.key"),
		"kubelet-preferred-address-types":    "InternalIP,ExternalIP,Hostname",
		"profiling":                          "false",
		"proxy-client-cert-file":             dir.TLS("client-auth-proxy.crt"),
		"proxy-client-key-file":              dir.TLS("client-auth-proxy.key"),
		"requestheader-allowed-names":        "system:auth-proxy",
		"requestheader-client-ca-file":       dir.TLS("request-header-ca.crt"),
		"requestheader-extra-headers-prefix": "X-Remote-Extra-",
		"requestheader-group-headers":        "X-Remote-Group",
		"requestheader-username-headers":     "X-Remote-User",
		"secure-port":                        strconv.Itoa(APIServerPort),
		"service-account-issuer":             issuer,
		"service-account-key-file":           dir.TLS("service.key"),
		"service-account-signing-key-file":   dir.TLS("service.key"),
		"service-cluster-ip-range":           s.ServiceCIDR,
		"service-node-port-range":            s.NodePortRange,
		"storage-backend":                    "etcd3",
		"tls-cert-file":                      dir.TLS("serving-kube-apiserver.crt"),
		"tls-private-key-file":               dir.TLS("serving-kube-apiserver.key"),
	}
	if s.SecretsEncryption {
		arguments["encryption-provider-config"] = dir.Server("cred", "encryption-config.json")
		arguments["encryption-provider-config-automatic-reload"] = "true"
	}
	return arguments
}

func controllerArguments(s settings.Settings) process.Arguments {
	dir := s.Layout()
	arguments := process.Arguments{
		"allocate-node-cidrs":              "true",
		"authentication-kubeconfig":        KubeconfigFor(dir, "controller"),
		"authorization-kubeconfig":         KubeconfigFor(dir, "controller"),
		"bind-address":                     "127.0.0.1",
		"cluster-cidr":                     s.ClusterCIDR,
		"controllers":                      "*,tokencleaner",
		"kubeconfig":                       KubeconfigFor(dir, "controller"),
		"leader-elect":                     "false",
		"profiling":                        "false",
		"root-ca-file":                     dir.TLS("server-ca.crt"),
		"secure-port":                      "10257",
		"service-account-private-key-file": dir.TLS("service.key"),
		"service-cluster-ip-range":         s.ServiceCIDR,
		"use-service-account-credentials":  "true",
	}
	for signer, authority := range map[string]string{
		"kube-apiserver-client": "client-ca", "kubelet-client": "client-ca",
		"kubelet-serving": "server-ca", "legacy-unknown": "server-ca",
	} {
		arguments["cluster-signing-"+signer+"-cert-file"] = dir.TLS(authority + ".crt")
		arguments["cluster-signing-"+signer+"-key-file"] = dir.TLS(authority + ".key")
	}
	return arguments
}

func schedulerArguments(s settings.Settings) process.Arguments {
	kubeconfig := KubeconfigFor(s.Layout(), "scheduler")
	return process.Arguments{
		"authentication-kubeconfig": kubeconfig,
		"authorization-kubeconfig":  kubeconfig,
		"bind-address":              "127.0.0.1",
		"kubeconfig":                kubeconfig,
		"leader-elect":              "false",
		"profiling":                 "false",
		"secure-port":               "10259",
	}
}

// SupervisorURL is where this server's own node joins.
func SupervisorURL(s settings.Settings) string {
	return fmt.Sprintf("https://%s", net.JoinHostPort("127.0.0.1", strconv.Itoa(s.HTTPSPort)))
}
