package kafka

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// authority is a CA, and what it issues.
type authority struct {
	cert    *x509.Certificate
	signer  *ecdsa.PrivateKey
	file    string
	key     string
	dir     string
	issued  int64
	encoded []byte
}

func newCA(t *testing.T) *authority {
	t.Helper()
	a := &authority{dir: t.TempDir()}
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: "test CA"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	a.write(t, "ca", template, template, nil)
	return a
}

func (a *authority) issue(t *testing.T, name string) *authority {
	t.Helper()
	a.issued++
	child := &authority{dir: a.dir}
	template := &x509.Certificate{
		Subject:     pkix.Name{CommonName: name},
		DNSNames:    []string{name},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if ip := net.ParseIP(name); ip != nil {
		template.IPAddresses = []net.IP{ip}
	}
	child.write(t, fmt.Sprint(name, a.issued), template, a.cert, a.signer)
	return child
}

func (a *authority) write(t *testing.T, name string, template, parent *x509.Certificate, signer *ecdsa.PrivateKey) {
	t.Helper()
	var err error
	a.signer, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	if signer == nil {
		signer = a.signer
	}
	template.SerialNumber = big.NewInt(time.Now().UnixNano())
	template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	a.encoded, err = x509.CreateCertificate(rand.Reader, template, parent, &a.signer.PublicKey, signer)
	require.NoError(t, err)
	a.cert, err = x509.ParseCertificate(a.encoded)
	require.NoError(t, err)
	key, err := x509.MarshalECPrivateKey(a.signer)
	require.NoError(t, err)
	a.file, a.key = filepath.Join(a.dir, name+".pem"), filepath.Join(a.dir, name+".key")
	writePEM(t, a.file, "CERTIFICATE", a.encoded)
	writePEM(t, a.key, "EC PRIVATE KEY", key)
}

func (a *authority) pair(t *testing.T) tls.Certificate {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(a.file, a.key)
	require.NoError(t, err)
	return pair
}

func writePEM(t *testing.T, file, kind string, content []byte) {
	t.Helper()
	require.NoError(t, os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: content}), 0o600))
}
