// Package gateway is the one door of a server: joining nodes and Kubernetes' own API on the same port, as in K3s.
package gateway

import (
	"crypto/tls"
	"crypto/x509"
	"log"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
)

// remoteHeader begins the headers by which kube-apiserver trusts the gateway to say who asks.
const remoteHeader = "X-Remote-"

// apiProxy passes requests to kube-apiserver. A caller that proved itself by a client certificate is named in headers
// over a connection that only the gateway can make; every other request goes on without them, with its own bearer token.
type apiProxy struct {
	clients            *x509.CertPool
	trusted, untrusted *httputil.ReverseProxy
}

// newAPIProxy makes a proxy to target. proof is the certificate that kube-apiserver takes identity headers from.
func newAPIProxy(target *url.URL, server, clients *x509.CertPool, proof tls.Certificate) *apiProxy {
	return &apiProxy{
		clients:   clients,
		trusted:   newReverseProxy(target, &tls.Config{RootCAs: server, Certificates: []tls.Certificate{proof}, MinVersion: tls.VersionTLS12}),
		untrusted: newReverseProxy(target, &tls.Config{RootCAs: server, MinVersion: tls.VersionTLS12}),
	}
}

func newReverseProxy(target *url.URL, config *tls.Config) *httputil.ReverseProxy {
	return &httputil.ReverseProxy{
		Rewrite: func(request *httputil.ProxyRequest) {
			request.SetURL(target)
			request.Out.Host = request.In.Host
			request.SetXForwarded()
		},
		Transport: newTransport(config),
		// Watches and followed logs must arrive when they are written.
		FlushInterval: -1,
		ErrorHandler: func(w http.ResponseWriter, request *http.Request, err error) {
			if request.Context().Err() == nil {
				log.Printf("gateway: %s %s: %v", request.Method, request.URL.Path, err)
			}
			http.Error(w, "the API server does not answer yet", http.StatusServiceUnavailable)
		},
	}
}

// transport takes HTTP/2 for plain requests, and HTTP/1.1 for those that change the protocol, which HTTP/2 cannot.
type transport struct{ plain, upgrading *http.Transport }

func newTransport(config *tls.Config) transport {
	// A watch stays open for minutes: there may be many on few connections.
	plain := &http.Transport{TLSClientConfig: config.Clone(), ForceAttemptHTTP2: true, MaxIdleConnsPerHost: 16, DisableCompression: true}
	upgrading := &http.Transport{TLSClientConfig: config.Clone(), TLSNextProto: map[string]func(string, *tls.Conn) http.RoundTripper{}}
	return transport{plain: plain, upgrading: upgrading}
}

func (t transport) RoundTrip(request *http.Request) (*http.Response, error) {
	if request.Header.Get("Upgrade") != "" {
		return t.upgrading.RoundTrip(request)
	}
	return t.plain.RoundTrip(request)
}

func (p *apiProxy) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	dropIdentity(request.Header)
	certificate, err := verifiedPeer(request.TLS, p.clients)
	switch {
	case err != nil:
		http.Error(w, "the client certificate is not of this cluster", http.StatusUnauthorized)
	case certificate == nil:
		p.untrusted.ServeHTTP(w, request)
	default:
		request.Header.Set(remoteHeader+"User", certificate.Subject.CommonName)
		for _, group := range certificate.Subject.Organization {
			request.Header.Add(remoteHeader+"Group", group)
		}
		request.Header.Del("Authorization")
		p.trusted.ServeHTTP(w, request)
	}
}

// dropIdentity removes what a caller might have written to be taken for somebody else.
func dropIdentity(header http.Header) {
	for name := range header {
		if strings.HasPrefix(strings.ToLower(name), strings.ToLower(remoteHeader)) {
			delete(header, name)
		}
	}
}

// verifiedPeer gives the caller's certificate when it showed one; an error when it is not of the cluster's client CA.
func verifiedPeer(state *tls.ConnectionState, clients *x509.CertPool) (*x509.Certificate, error) {
	if state == nil || len(state.PeerCertificates) == 0 {
		return nil, nil
	}
	intermediates := x509.NewCertPool()
	for _, certificate := range state.PeerCertificates[1:] {
		intermediates.AddCert(certificate)
	}
	leaf := state.PeerCertificates[0]
	_, err := leaf.Verify(x509.VerifyOptions{Roots: clients, Intermediates: intermediates, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	return leaf, err
}
