package pki

import (
	"bytes"
	"crypto/x509"
	"net"
	"os"
	"path/filepath"
	"testing"
)

func authority(t *testing.T, dir, name string) *Authority {
	t.Helper()
	made, err := EnsureAuthority(filepath.Join(dir, name+".crt"), filepath.Join(dir, name+".key"), name)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func TestAuthorityIsMadeOnce(t *testing.T) {
	dir := t.TempDir()
	if first, second := authority(t, dir, "ca"), authority(t, dir, "ca"); !bytes.Equal(first.CertPEM, second.CertPEM) {
		t.Error("made anew")
	}
	info, err := os.Stat(filepath.Join(dir, "ca.key"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("key: %v, %v", info, err)
	}
}

func TestAuthorityRecoversFromAStartThatWasCutOff(t *testing.T) {
	dir := t.TempDir()
	authority(t, dir, "ca")
	if err := os.Remove(filepath.Join(dir, "ca.crt")); err != nil {
		t.Fatal(err)
	}
	authority(t, dir, "ca")
}

func TestLeafIsKeptUntilItNoLongerFits(t *testing.T) {
	dir := t.TempDir()
	ca, other := authority(t, dir, "ca"), authority(t, dir, "other")
	cert, key := filepath.Join(dir, "leaf.crt"), filepath.Join(dir, "leaf.key")
	leaf := Leaf{CommonName: "kube-apiserver", Organizations: []string{"g"}, DNSNames: []string{"localhost"}, IPs: []net.IP{net.IPv4(127, 0, 0, 1)}, Server: true}
	read := func(by *Authority, wanted Leaf) string {
		t.Helper()
		if err := by.EnsureLeaf(cert, key, wanted); err != nil {
			t.Fatal(err)
		}
		content, err := os.ReadFile(cert)
		if err != nil {
			t.Fatal(err)
		}
		return string(content)
	}
	first := read(ca, leaf)
	if read(ca, leaf) != first {
		t.Error("a certificate that fits was made anew")
	}
	parsed, err := ParseCert([]byte(first))
	if err != nil {
		t.Fatal(err)
	}
	pool, err := Pool(ca.CertPEM)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parsed.Verify(x509.VerifyOptions{Roots: pool, DNSName: "localhost"}); err != nil {
		t.Error(err)
	}
	leaf.IPs = append(leaf.IPs, net.IPv4(192, 168, 1, 201))
	second := read(ca, leaf)
	if second == first {
		t.Error("a new address did not make a new certificate")
	}
	if read(other, leaf) == second {
		t.Error("another authority did not make a new certificate")
	}
}

func TestRequestProvesItsKey(t *testing.T) {
	request, err := NewRequest(filepath.Join(t.TempDir(), "node.key"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := RequestKey(request); err != nil {
		t.Error(err)
	}
	if _, err := RequestKey([]byte("nothing")); err == nil {
		t.Error("took what is no request")
	}
}
