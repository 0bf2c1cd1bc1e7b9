// Package node makes a machine a node of the cluster: it joins, prepares the machine and starts what runs pods.
package node

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"

	"gorkheavy.dev/lab/k3s/internal/layout"
	"gorkheavy.dev/lab/k3s/internal/settings"
	"gorkheavy.dev/lab/k3s/internal/token"
)

// idDigits is how much of the node's id its name carries.
const idDigits = 8

// Identity is who this node is.
type Identity struct {
	Name string
	// Addresses are the node's own, the first of them primary.
	Addresses []string
	// Password proves to the server that this machine was the first to take Name.
	Password string
}

// Identify settles the node's name, addresses and password.
func Identify(s settings.Settings) (Identity, error) {
	name := s.NodeName
	if name == "" {
		hostname, err := os.Hostname()
		if err != nil {
			return Identity{}, err
		}
		name = hostname
	}
	name = strings.ToLower(strings.TrimSpace(name))
	if s.WithNodeID {
		id, err := kept(filepath.Join(layout.NodeDir, "id"))
		if err != nil {
			return Identity{}, err
		}
		name += "-" + id[:min(idDigits, len(id))]
	}
	addresses := s.NodeIPs
	if len(addresses) == 0 {
		address, err := primaryAddress()
		if err != nil {
			return Identity{}, err
		}
		addresses = []string{address}
	}
	password, err := kept(filepath.Join(layout.NodeDir, "password"))
	if err != nil {
		return Identity{}, err
	}
	return Identity{Name: name, Addresses: addresses, Password: password}, nil
}

// kept reads a secret of this machine, or makes it.
func kept(path string) (string, error) {
	content, err := os.ReadFile(path)
	if err == nil && strings.TrimSpace(string(content)) != "" {
		return strings.TrimSpace(string(content)), nil
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", err
	}
	secret, err := token.NewSecret()
	if err != nil {
		return "", err
	}
	return secret, layout.WriteFile(path, []byte(secret+"\n"), 0o600)
}

// primaryAddress is the one the kernel would use for the way out; without a default route, the first global one.
func primaryAddress() (string, error) {
	// Connecting a datagram socket sends nothing; it only makes the kernel choose a source address.
	if connection, err := net.Dial("udp", "192.0.2.1:9"); err == nil {
		defer connection.Close()
		if address, ok := connection.LocalAddr().(*net.UDPAddr); ok && !address.IP.IsLoopback() {
			return address.IP.String(), nil
		}
	}
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		return "", err
	}
	for _, address := range addresses {
		if network, ok := address.(*net.IPNet); ok && network.IP.To4() != nil && network.IP.IsGlobalUnicast() {
			return network.IP.String(), nil
		}
	}
	return "", fmt.Errorf("this machine has no address that others reach it by: give --node-ip")
}
