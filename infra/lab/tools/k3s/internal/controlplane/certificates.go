// Package controlplane makes the server's keys and starts etcd and Kubernetes' control plane with them.
package controlplane

import (
	"fmt"
	"net"
	"os"

	"gorkheavy.dev/lab/k3s/internal/layout"
	"gorkheavy.dev/lab/k3s/internal/pki"
	"gorkheavy.dev/lab/k3s/internal/settings"
)

// Authorities sign for the cluster: Server for what nodes and the API server show, Client for who may ask.
type Authorities struct {
	Server, Client, RequestHeader, EtcdServer, EtcdPeer *pki.Authority
}

// EnsurePKI makes every authority, key and certificate of a server that is missing, and keeps the others.
func EnsurePKI(s settings.Settings, nodeName, nodeIP string) (Authorities, error) {
	dir := s.Layout()
	if err := os.MkdirAll(dir.TLS("etcd"), 0o700); err != nil {
		return Authorities{}, err
	}
	var made Authorities
	for _, authority := range []struct {
		target   **pki.Authority
		path, cn string
	}{
		{&made.Server, "server-ca", "k3s-server-ca"},
		{&made.Client, "client-ca", "k3s-client-ca"},
		{&made.RequestHeader, "request-header-ca", "k3s-request-header-ca"},
		{&made.EtcdServer, "etcd/server-ca", "etcd-server-ca"},
		{&made.EtcdPeer, "etcd/peer-ca", "etcd-peer-ca"},
	} {
		loaded, err := pki.EnsureAuthority(dir.TLS(authority.path+".crt"), dir.TLS(authority.path+".key"), authority.cn)
		if err != nil {
			return Authorities{}, fmt.Errorf("authority %s: %w", authority.cn, err)
		}
		*authority.target = loaded
	}
	if err := pki.EnsureServiceKey(dir.TLS("service.key")); err != nil {
		return Authorities{}, err
	}
	serving, err := servingLeaf(s, nodeName, nodeIP)
	if err != nil {
		return Authorities{}, err
	}
	loopback := []net.IP{net.IPv4(127, 0, 0, 1)}
	for _, leaf := range []struct {
		by   *pki.Authority
		path string
		leaf pki.Leaf
	}{
		{made.Server, "serving-kube-apiserver", serving},
		{made.Client, "client-admin", client("system:admin", "system:masters")},
		{made.Client, "client-supervisor", client("system:k3s-supervisor", "system:masters")},
		{made.Client, "client-controller", client("system:kube-controller-manager")},
		{made.Client, "client-scheduler", client("system:kube-scheduler")},
		{made.Client, "client-kube-apiserver", client("system:apiserver", "system:masters")},
		{made.RequestHeader, "client-auth-proxy", client("system:auth-proxy")},
		{made.EtcdServer, "etcd/client", client("etcd-client")},
		{made.EtcdServer, "etcd/server-client", pki.Leaf{CommonName: "etcd-server", DNSNames: []string{"localhost"}, IPs: loopback, Server: true, Client: true}},
		{made.EtcdPeer, "etcd/peer-server-client", pki.Leaf{CommonName: "etcd-peer", DNSNames: []string{"localhost"}, IPs: loopback, Server: true, Client: true}},
	} {
		if err := leaf.by.EnsureLeaf(dir.TLS(leaf.path+".crt"), dir.TLS(leaf.path+".key"), leaf.leaf); err != nil {
			return Authorities{}, fmt.Errorf("certificate %s: %w", leaf.path, err)
		}
	}
	return made, nil
}

func client(name string, groups ...string) pki.Leaf {
	return pki.Leaf{CommonName: name, Organizations: groups, Client: true}
}

// servingLeaf is the one certificate of the API server and of the supervisor's own listener.
func servingLeaf(s settings.Settings, nodeName, nodeIP string) (pki.Leaf, error) {
	service, err := settings.NthAddress(s.ServiceCIDR, 1)
	if err != nil {
		return pki.Leaf{}, err
	}
	leaf := pki.Leaf{
		CommonName: "kube-apiserver",
		DNSNames: []string{"localhost", nodeName, "kubernetes", "kubernetes.default", "kubernetes.default.svc",
			"kubernetes.default.svc." + s.ClusterDomain},
		IPs:    []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback, net.ParseIP(service), net.ParseIP(nodeIP)},
		Server: true,
	}
	for _, name := range append(append([]string{}, s.TLSNames...), s.AdvertiseAddress) {
		if address := net.ParseIP(name); address != nil {
			leaf.IPs = append(leaf.IPs, address)
		} else if name != "" {
			leaf.DNSNames = append(leaf.DNSNames, name)
		}
	}
	return leaf, nil
}

// KubeconfigFor says where the kubeconfig of a control plane part lies.
func KubeconfigFor(dir layout.Layout, part string) string {
	return dir.Server("cred", part+".kubeconfig")
}
