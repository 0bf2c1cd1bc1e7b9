// Package pki makes the cluster's certificate authorities and the certificates they sign.
package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"slices"
	"time"

	"gorkheavy.dev/lab/k3s/internal/layout"
)

const (
	authorityLife = 10 * 365 * 24 * time.Hour
	leafLife      = 365 * 24 * time.Hour
	// renewBefore is how long before its end a certificate is made anew at a start, as K3s does.
	renewBefore = 120 * 24 * time.Hour
	// clockSkew is how far a node's clock may lag behind.
	clockSkew = 10 * time.Minute
)

// Authority is a certificate authority with its key.
type Authority struct {
	Certificate *x509.Certificate
	CertPEM     []byte
	key         crypto.Signer
}

// Leaf describes one certificate to sign.
type Leaf struct {
	CommonName    string
	Organizations []string
	DNSNames      []string
	IPs           []net.IP
	// Server and Client say what the certificate may be used for; both may be set.
	Server, Client bool
}

// EnsureAuthority loads the authority at the two paths, or makes it when neither is there.
func EnsureAuthority(certPath, keyPath, commonName string) (*Authority, error) {
	authority, err := LoadAuthority(certPath, keyPath)
	if err == nil || !errors.Is(err, os.ErrNotExist) {
		return authority, err
	}
	if _, keyErr := os.Stat(keyPath); keyErr == nil {
		// Made but not signed: a start that was cut off between the two. Nothing was signed by it yet.
		if err := os.Remove(keyPath); err != nil {
			return nil, err
		}
	}
	key, err := EnsureKey(keyPath)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber:          newSerial(),
		Subject:               pkix.Name{CommonName: fmt.Sprintf("%s@%d", commonName, time.Now().Unix())},
		NotBefore:             time.Now().Add(-clockSkew),
		NotAfter:              time.Now().Add(authorityLife),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment,
		BasicConstraintsValid: true,
		IsCA:                  true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	if err := layout.WriteFile(certPath, encodeCert(der), 0o644); err != nil {
		return nil, err
	}
	return LoadAuthority(certPath, keyPath)
}

// LoadAuthority reads an authority that exists.
func LoadAuthority(certPath, keyPath string) (*Authority, error) {
	certPEM, err := os.ReadFile(certPath)
	if err != nil {
		return nil, err
	}
	certificate, err := ParseCert(certPEM)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", certPath, err)
	}
	key, err := loadKey(keyPath)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", keyPath, err)
	}
	return &Authority{Certificate: certificate, CertPEM: certPEM, key: key}, nil
}

// Sign gives a certificate for public, in PEM.
func (a *Authority) Sign(leaf Leaf, public crypto.PublicKey) ([]byte, error) {
	template := &x509.Certificate{
		SerialNumber: newSerial(),
		Subject:      pkix.Name{CommonName: leaf.CommonName, Organization: leaf.Organizations},
		DNSNames:     leaf.DNSNames,
		IPAddresses:  leaf.IPs,
		NotBefore:    time.Now().Add(-clockSkew),
		NotAfter:     time.Now().Add(leafLife),
		KeyUsage:     x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment,
	}
	if leaf.Server {
		template.ExtKeyUsage = append(template.ExtKeyUsage, x509.ExtKeyUsageServerAuth)
	}
	if leaf.Client {
		template.ExtKeyUsage = append(template.ExtKeyUsage, x509.ExtKeyUsageClientAuth)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.Certificate, public, a.key)
	if err != nil {
		return nil, err
	}
	return encodeCert(der), nil
}

// EnsureLeaf keeps the certificate at certPath while it still fits, and signs a new one when it does not.
func (a *Authority) EnsureLeaf(certPath, keyPath string, leaf Leaf) error {
	key, err := EnsureKey(keyPath)
	if err != nil {
		return err
	}
	if certPEM, err := os.ReadFile(certPath); err == nil && a.stillFits(certPEM, leaf, key.Public()) {
		return nil
	}
	certPEM, err := a.Sign(leaf, key.Public())
	if err != nil {
		return err
	}
	return layout.WriteFile(certPath, certPEM, 0o644)
}

func (a *Authority) stillFits(certPEM []byte, leaf Leaf, public crypto.PublicKey) bool {
	certificate, err := ParseCert(certPEM)
	if err != nil || certificate.CheckSignatureFrom(a.Certificate) != nil || time.Until(certificate.NotAfter) < renewBefore {
		return false
	}
	if known, ok := certificate.PublicKey.(*ecdsa.PublicKey); !ok || !known.Equal(public) {
		return false
	}
	return certificate.Subject.CommonName == leaf.CommonName &&
		slices.Equal(certificate.Subject.Organization, leaf.Organizations) &&
		slices.Equal(certificate.DNSNames, leaf.DNSNames) &&
		slices.EqualFunc(certificate.IPAddresses, leaf.IPs, net.IP.Equal)
}

// Pool holds the authorities of a PEM bundle.
func Pool(bundle []byte) (*x509.CertPool, error) {
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(bundle) {
		return nil, errors.New("no certificate in the CA bundle")
	}
	return pool, nil
}

// ParseCert reads the first certificate of a PEM text.
func ParseCert(certPEM []byte) (*x509.Certificate, error) {
	block, _ := pem.Decode(certPEM)
	if block == nil || block.Type != "CERTIFICATE" {
		return nil, errors.New("not a certificate in PEM form")
	}
	return x509.ParseCertificate(block.Bytes)
}

func encodeCert(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func newSerial() *big.Int {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		panic(err) // the kernel's random source never fails
	}
	return serial.Add(serial, big.NewInt(1))
}

func newKey() (*ecdsa.PrivateKey, error) { return ecdsa.GenerateKey(elliptic.P256(), rand.Reader) }
