package gateway

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"

	"gorkheavy.dev/lab/k3s/internal/controlplane"
	"gorkheavy.dev/lab/k3s/internal/pki"
)

// Headers by which a node says who it is, as K3s' agents send them.
const (
	HeaderNodeName     = "K3s-Node-Name"
	HeaderNodePassword = "K3s-Node-Password"
	HeaderNodeIP       = "K3s-Node-IP"
)

// largestRequest bounds a certificate request, bytes.
const largestRequest = 64 * 1024

// ErrNameTaken says that a node of that name joined before with another password.
var ErrNameTaken = errors.New("node name is taken")

// NodePasswords remembers, for each node name, the password of the machine that first used it.
type NodePasswords interface {
	// Ensure records the password of a new name and compares that of a known one; ErrNameTaken when it differs.
	Ensure(ctx context.Context, nodeName, password string) error
}

// ClusterConfig is what a joining node must know about the cluster.
type ClusterConfig struct {
	ClusterCIDR    string `json:"clusterCIDR"`
	ServiceCIDR    string `json:"serviceCIDR"`
	ClusterDNS     string `json:"clusterDNS"`
	ClusterDomain  string `json:"clusterDomain"`
	FlannelBackend string `json:"flannelBackend"`
}

// joinAPI gives nodes their configuration and their certificates.
type joinAPI struct {
	config      ClusterConfig
	authorities controlplane.Authorities
	tokens      controlplane.Tokens
	passwords   NodePasswords
}

func (j joinAPI) routes(mux *http.ServeMux) {
	mux.HandleFunc("GET /ping", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "pong") })
	mux.HandleFunc("GET /cacerts", func(w http.ResponseWriter, _ *http.Request) { w.Write(j.authorities.Server.CertPEM) })
	mux.HandleFunc("GET /v1-k3s/server-ca.crt", j.authorized(func(w http.ResponseWriter, _ *http.Request) { w.Write(j.authorities.Server.CertPEM) }))
	mux.HandleFunc("GET /v1-k3s/client-ca.crt", j.authorized(func(w http.ResponseWriter, _ *http.Request) { w.Write(j.authorities.Client.CertPEM) }))
	mux.HandleFunc("GET /v1-k3s/config", j.authorized(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(j.config)
	}))
	mux.HandleFunc("POST /v1-k3s/client-kubelet.crt", j.forNode(j.authorities.Client, func(name string, _ []net.IP) pki.Leaf {
		return pki.Leaf{CommonName: "system:node:" + name, Organizations: []string{"system:nodes"}, Client: true}
	}))
	mux.HandleFunc("POST /v1-k3s/serving-kubelet.crt", j.forNode(j.authorities.Server, func(name string, addresses []net.IP) pki.Leaf {
		return pki.Leaf{CommonName: name, DNSNames: []string{name, "localhost"}, IPs: append([]net.IP{net.IPv4(127, 0, 0, 1)}, addresses...), Server: true}
	}))
	mux.HandleFunc("POST /v1-k3s/client-kube-proxy.crt", j.forNode(j.authorities.Client, func(string, []net.IP) pki.Leaf {
		return pki.Leaf{CommonName: "system:kube-proxy", Client: true}
	}))
	mux.HandleFunc("POST /v1-k3s/client-k3s-controller.crt", j.forNode(j.authorities.Client, func(string, []net.IP) pki.Leaf {
		return pki.Leaf{CommonName: "system:k3s-controller", Client: true}
	}))
	mux.HandleFunc("/v1-k3s/", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "not found", http.StatusNotFound) })
}

func (j joinAPI) authorized(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, request *http.Request) {
		user, password, _ := request.BasicAuth()
		want := map[string]string{"server": j.tokens.Server, "node": j.tokens.Agent}[user]
		if want == "" || subtle.ConstantTimeCompare([]byte(password), []byte(want)) != 1 {
			http.Error(w, "the join token is not of this cluster", http.StatusUnauthorized)
			return
		}
		next(w, request)
	}
}

// forNode signs a certificate for a node that holds the token and the password of its name.
func (j joinAPI) forNode(by *pki.Authority, leaf func(name string, addresses []net.IP) pki.Leaf) http.HandlerFunc {
	return j.authorized(func(w http.ResponseWriter, request *http.Request) {
		name, addresses, err := nodeIdentity(request.Header)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		body, err := io.ReadAll(http.MaxBytesReader(w, request.Body, largestRequest))
		if err != nil {
			http.Error(w, "the certificate request cannot be read", http.StatusBadRequest)
			return
		}
		public, err := pki.RequestKey(body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		if err := j.passwords.Ensure(request.Context(), name, request.Header.Get(HeaderNodePassword)); errors.Is(err, ErrNameTaken) {
			log.Printf("gateway: refused a node named %s: its password is not the one recorded", name)
			http.Error(w, "Node password rejected, duplicate hostname or contents of '/etc/rancher/node/password' may not match server node-passwd entry, try enabling a unique node name with the --with-node-id flag", http.StatusForbidden)
			return
		} else if err != nil {
			http.Error(w, "the node's password cannot be checked yet", http.StatusServiceUnavailable)
			return
		}
		certPEM, err := by.Sign(leaf(name, addresses), public)
		if err != nil {
			http.Error(w, "the certificate cannot be signed", http.StatusInternalServerError)
			return
		}
		w.Write(certPEM)
	})
}

func nodeIdentity(header http.Header) (string, []net.IP, error) {
	name := header.Get(HeaderNodeName)
	if problems := validation.IsDNS1123Subdomain(name); len(problems) > 0 {
		return "", nil, errors.New("node name " + strings.Join(problems, "; "))
	}
	if header.Get(HeaderNodePassword) == "" {
		return "", nil, errors.New("no node password")
	}
	var addresses []net.IP
	for _, text := range strings.Split(header.Get(HeaderNodeIP), ",") {
		if text == "" {
			continue
		}
		address := net.ParseIP(text)
		if address == nil {
			return "", nil, errors.New("a node address is not an IP address")
		}
		addresses = append(addresses, address)
	}
	return name, addresses, nil
}
